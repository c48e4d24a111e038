"""PostgreSQL: everything the service asks of a database, and how it reaches one."""
