-- The start time of the server in microseconds, which identifies it.
SELECT pg_postmaster_start_time()::text
