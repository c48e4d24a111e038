"""Statistics of calls in buckets of time."""
