-- The leaves of each partition of a table of calls; a partition that is not partitioned itself is its own leaf. Each row has the
-- partition with its bounds, the leaf, its foreign server, whether both may be read directly, and the range of ids of the
-- leaf's rows at the last ANALYZE, without the lowest and highest histogram bucket (about 1 % each). The bounds of a
-- partition that is currently locked are NULL, because PostgreSQL 17 and later wait for the lock.
WITH RECURSIVE tree (partition_oid, leaf_oid) AS (
         SELECT pg_inherits.inhrelid,
                pg_inherits.inhrelid
           FROM pg_catalog.pg_inherits
          WHERE pg_inherits.inhparent = to_regclass(%(table)s)
            AND NOT pg_inherits.inhdetachpending
          UNION ALL
         SELECT tree.partition_oid,
                pg_inherits.inhrelid
           FROM tree
           JOIN pg_catalog.pg_inherits
             ON pg_inherits.inhparent = tree.leaf_oid
       )
SELECT partition.oid::bigint,
       quote_ident(partition_schema.nspname) || '.' || quote_ident(partition.relname),
       CASE
         WHEN partition.oid <> ALL (ARRAY(
                SELECT pg_locks.relation
                  FROM pg_catalog.pg_locks
                 WHERE pg_locks.locktype = 'relation'
                   AND pg_locks.mode = 'AccessExclusiveLock'
              )) THEN pg_get_expr(partition.relpartbound, partition.oid)
       END,
       has_table_privilege(partition.oid, 'SELECT') AND has_schema_privilege(partition_schema.oid, 'USAGE'),
       leaf.oid::bigint,
       quote_ident(leaf_schema.nspname) || '.' || quote_ident(leaf.relname),
       has_table_privilege(leaf.oid, 'SELECT') AND has_schema_privilege(leaf_schema.oid, 'USAGE'),
       pg_foreign_table.ftserver::bigint,
       statistics.ids[2],
       statistics.ids[array_length(statistics.ids, 1) - 1]
  FROM tree
  JOIN pg_catalog.pg_class AS partition
    ON partition.oid = tree.partition_oid
  JOIN pg_catalog.pg_namespace AS partition_schema
    ON partition_schema.oid = partition.relnamespace
  JOIN pg_catalog.pg_class AS leaf
    ON leaf.oid = tree.leaf_oid
   AND leaf.relkind <> 'p'
  JOIN pg_catalog.pg_namespace AS leaf_schema
    ON leaf_schema.oid = leaf.relnamespace
  LEFT JOIN pg_catalog.pg_foreign_table
    ON pg_foreign_table.ftrelid = leaf.oid
  LEFT JOIN (
         SELECT schemaname,
                tablename,
                histogram_bounds::text::bigint[] AS ids
           FROM pg_catalog.pg_stats
          WHERE attname = 'id'
            AND NOT inherited
            AND histogram_bounds IS NOT NULL
       ) AS statistics
    ON statistics.schemaname = leaf_schema.nspname
   AND statistics.tablename = leaf.relname
