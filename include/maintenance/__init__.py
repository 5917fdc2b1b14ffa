"""Housekeeping of the lake: versions that nobody needs any more, and files that are too small."""
