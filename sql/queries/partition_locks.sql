-- How many partitions cdr.cdr has, how many locks a statement on all of them takes, one for each partition and index,
-- for how many the server has room, and the setting that decides.
SELECT count(DISTINCT tree.relid),
       count(DISTINCT tree.relid) + count(pg_index.indexrelid),
       current_setting('max_locks_per_transaction')::bigint
         * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint),
       current_setting('max_locks_per_transaction')::bigint
  FROM pg_catalog.pg_partition_tree(to_regclass('cdr.cdr')) AS tree
  LEFT JOIN pg_catalog.pg_index
    ON pg_index.indrelid = tree.relid
