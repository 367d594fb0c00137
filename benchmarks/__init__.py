"""How fast hh_fast is beside what it replaces, and what it survives: run from a clone, not installed."""
