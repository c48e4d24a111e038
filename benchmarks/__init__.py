"""What the service costs beside other ways to serve the same, as ratios: see `python -m benchmarks --help`."""
