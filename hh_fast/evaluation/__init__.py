"""What a classifier got right: metrics, tables and plots."""
