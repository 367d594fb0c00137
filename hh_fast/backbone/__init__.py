"""Pretrained networks, and the frozen front of any model, which is computed once for each image."""
