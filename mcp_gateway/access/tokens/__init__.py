"""Bearer tokens: who issues them, how they are checked, and until when they are believed."""
