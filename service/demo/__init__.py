"""The demo and its private PostgreSQL; nothing that serves customers imports this package."""
