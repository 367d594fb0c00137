"""From batches to weights, and to a run folder that says how they came about."""
