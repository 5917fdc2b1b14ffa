"""What sends records to the streams: sources, what is injected, pace, delivery, and where a run stands."""
