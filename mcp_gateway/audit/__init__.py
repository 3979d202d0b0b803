"""What happened, who asked, and what became of it: append-only."""
