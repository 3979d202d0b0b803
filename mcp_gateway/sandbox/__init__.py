"""A real Freqtrade in dry-run on a simulated exchange, all of it on loopback."""
