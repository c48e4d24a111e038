"""Statistics of calls: parameters to a question, calls to sums in buckets of time, and sums to columns."""
