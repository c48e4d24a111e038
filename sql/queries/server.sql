-- When the server was started, to the microsecond, which tells it from all others.
SELECT pg_postmaster_start_time()::text
