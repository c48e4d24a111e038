"""Benchmarks of the service relative to other servers: see `python -m benchmarks --help`."""
