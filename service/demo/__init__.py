"""The demo and its embedded PostgreSQL; not imported by the service."""
