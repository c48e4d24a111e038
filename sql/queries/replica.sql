-- Whether a server is a standby, its start time, and its lag in seconds: 0 if it has replayed everything that it received
-- and still has a connection to the primary.
SELECT pg_is_in_recovery(),
       pg_postmaster_start_time()::text,
       CASE
         WHEN NOT pg_is_in_recovery() THEN 0
         WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()
              AND EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver) THEN 0
         ELSE EXTRACT(EPOCH FROM clock_timestamp() - pg_last_xact_replay_timestamp())
       END::double precision
