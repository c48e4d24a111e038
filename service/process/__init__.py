"""Listening processes: start, supervision, graceful stop."""
