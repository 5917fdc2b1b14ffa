"""The sales lakehouse: what has landed, which versions are published, and the checks between."""
