"""Generated data: what a laptop has instead of a client."""
