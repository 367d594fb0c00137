"""One question a module, each a command of its own: `python -m benchmarks.studies.NAME`."""
