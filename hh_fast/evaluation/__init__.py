"""Metrics, tables and plots of a classifier's results."""
