"""Draws the built-in data set. Imports only errors and files."""
