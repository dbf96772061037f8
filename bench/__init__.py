"""Benchmarks: our figure beside its peers in one run. `python -m bench.all --help`."""
