"""Background tasks, concurrency limits and shared results."""
