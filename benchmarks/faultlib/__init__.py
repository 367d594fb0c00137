"""The fault campaign: each module tries one kind of fault on hh_fast as users run it, and counts what survives.

`tests/test_faults.py` runs short forms, `benchmarks/faults.py` the long ones.
"""
