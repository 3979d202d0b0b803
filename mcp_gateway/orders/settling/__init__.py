"""What becomes of orders behind their answer: found, followed, cancelled, settled."""
