"""Logs, metrics and the timings of a request; independent of HTTP."""
