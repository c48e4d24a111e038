"""Server processes: start, supervision, graceful stop."""
