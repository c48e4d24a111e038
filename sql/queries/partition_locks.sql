-- How many partitions a table of calls has, how many locks a statement on all of them takes, one for each partition and index,
-- for how many the server has room, and the setting that decides. It waits for no lock on a table, as
-- pg_partition_tree() would.
WITH RECURSIVE tree (oid) AS (
         SELECT to_regclass(%(table)s)::oid
          UNION
         SELECT pg_inherits.inhrelid
           FROM tree
           JOIN pg_catalog.pg_inherits
             ON pg_inherits.inhparent = tree.oid
       )
SELECT count(DISTINCT tree.oid),
       count(DISTINCT tree.oid) + count(pg_index.indexrelid),
       current_setting('max_locks_per_transaction')::bigint
         * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint),
       current_setting('max_locks_per_transaction')::bigint
  FROM tree
  LEFT JOIN pg_catalog.pg_index
    ON pg_index.indrelid = tree.oid
