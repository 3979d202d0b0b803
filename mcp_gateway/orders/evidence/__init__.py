"""What the bot's own books prove about an order."""
