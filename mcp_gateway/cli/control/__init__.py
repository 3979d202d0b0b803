"""What commands ask of a gateway, and the ways to one that answers."""
