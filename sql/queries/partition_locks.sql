-- The number of partitions of a table of calls, the locks that a statement on all of them takes (one per partition and index), the
-- size of the server's lock table, and max_locks_per_transaction, which determines it. Unlike pg_partition_tree(), this
-- does not wait for locks on tables.
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
