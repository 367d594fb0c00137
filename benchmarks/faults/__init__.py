"""Faults that the commands must survive: kills, damage, full disks, hostile files, crowds. `python -m benchmarks.faults`."""
