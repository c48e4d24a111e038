-- The leaves of each partition of cdr.cdr, which is its own leaf where it is not partitioned itself: the partition with
-- its bounds, the leaf, the servers behind it, whether they may be read by themselves, and between which ids all but the
-- outermost two hundredths of the leaf's rows lay when PostgreSQL last analysed it.
SELECT partition.oid::bigint,
       format('%I.%I', partition_schema.nspname, partition.relname),
       pg_get_expr(partition.relpartbound, partition.oid),
       has_table_privilege(partition.oid, 'SELECT') AND has_schema_privilege(partition_schema.oid, 'USAGE'),
       leaf.oid::bigint,
       format('%I.%I', leaf_schema.nspname, leaf.relname),
       has_table_privilege(leaf.oid, 'SELECT') AND has_schema_privilege(leaf_schema.oid, 'USAGE'),
       pg_foreign_table.ftserver::bigint,
       statistics.ids[2],
       statistics.ids[array_length(statistics.ids, 1) - 1]
  FROM pg_catalog.pg_inherits
  JOIN pg_catalog.pg_class AS partition
    ON partition.oid = pg_inherits.inhrelid
  JOIN pg_catalog.pg_namespace AS partition_schema
    ON partition_schema.oid = partition.relnamespace
 CROSS JOIN LATERAL (
         SELECT partition.oid
          WHERE partition.relkind <> 'p'
          UNION ALL
         SELECT relid
           FROM pg_catalog.pg_partition_tree(partition.oid)
          WHERE partition.relkind = 'p'
            AND isleaf
       ) AS tree (oid)
  JOIN pg_catalog.pg_class AS leaf
    ON leaf.oid = tree.oid
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
 WHERE pg_inherits.inhparent = to_regclass('cdr.cdr')
   AND NOT pg_inherits.inhdetachpending
