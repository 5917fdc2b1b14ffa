"""Event-time windows, and the Lambda handlers that use them."""
