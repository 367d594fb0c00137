"""Draws the built-in data set. Knows nothing of the rest but errors and files."""
