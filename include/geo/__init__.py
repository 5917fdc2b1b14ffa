"""Geo-advertising in the lake: what has landed, which months it touches, and how months are published."""
