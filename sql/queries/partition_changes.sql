-- The partitions of a table of calls with a text that changes with every change of their rows, and when they are attached. No
-- rows if PostgreSQL does not count changes here, for example on a replica, or on the coordinator of Citus. Without partitions
-- that are currently locked, because PostgreSQL 17 and later wait for the lock to read their bounds.
SELECT pg_class.oid::bigint,
       pg_get_expr(pg_class.relpartbound, pg_class.oid),
       concat_ws(
         ' ',
         pg_inherits.xmin,
         pg_class.relfilenode,
         pg_stat_get_tuples_inserted(pg_class.oid),
         pg_stat_get_tuples_updated(pg_class.oid),
         pg_stat_get_tuples_deleted(pg_class.oid)
       )
  FROM pg_catalog.pg_inherits
  JOIN pg_catalog.pg_class
    ON pg_class.oid = pg_inherits.inhrelid
 WHERE pg_inherits.inhparent = to_regclass(%(table)s)
   AND NOT pg_inherits.inhdetachpending
   AND (%(oids)s::bigint[] IS NULL OR pg_class.oid = ANY(%(oids)s::bigint[]))
   AND pg_class.relkind = 'r'
   AND pg_class.oid <> ALL (ARRAY(
         SELECT pg_locks.relation
           FROM pg_catalog.pg_locks
          WHERE pg_locks.locktype = 'relation'
            AND pg_locks.mode = 'AccessExclusiveLock'
       ))
   AND current_setting('track_counts')::boolean
   AND NOT pg_is_in_recovery()
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'citus')
