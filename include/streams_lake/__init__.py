"""The streams in the lake, hour by hour: what has arrived, which event hours it touches, how both are published."""
