"""The order book: what an order is, what may become of it, and where that is written."""
