-- What the directory knows of each partition: its name, its bounds, whether it may be read by itself, and between which
-- ids all but the outermost two hundredths of its rows lay when PostgreSQL last analysed it.
SELECT pg_class.oid::bigint,
       format('%I.%I', pg_namespace.nspname, pg_class.relname),
       pg_get_expr(pg_class.relpartbound, pg_class.oid),
       has_table_privilege(pg_class.oid, 'SELECT') AND has_schema_privilege(pg_namespace.oid, 'USAGE'),
       statistics.ids[2],
       statistics.ids[array_length(statistics.ids, 1) - 1]
  FROM pg_catalog.pg_inherits
  JOIN pg_catalog.pg_class
    ON pg_class.oid = pg_inherits.inhrelid
  JOIN pg_catalog.pg_namespace
    ON pg_namespace.oid = pg_class.relnamespace
  LEFT JOIN (
         SELECT schemaname,
                tablename,
                histogram_bounds::text::bigint[] AS ids
           FROM pg_catalog.pg_stats
          WHERE attname = 'id'
            AND NOT inherited
            AND histogram_bounds IS NOT NULL
       ) AS statistics
    ON statistics.schemaname = pg_namespace.nspname
   AND statistics.tablename = pg_class.relname
 WHERE pg_inherits.inhparent = to_regclass('cdr.cdr')
   AND NOT pg_inherits.inhdetachpending
