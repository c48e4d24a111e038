"""Logs, metrics and the timings of one request; no HTTP."""
