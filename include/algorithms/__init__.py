"""The algorithms image: four sales products as one command, `python -m include.algorithms`."""
