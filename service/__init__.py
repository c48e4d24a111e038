"""cdr-api: the CDR part of the "customer v1" JSON:API, read from a partitioned PostgreSQL table."""
