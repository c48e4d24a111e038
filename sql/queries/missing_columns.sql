-- The columns that do not exist or may not be read, and what is missing.
SELECT CASE
         WHEN pg_namespace.oid IS NULL THEN 'schema'
         WHEN NOT has_schema_privilege(pg_namespace.oid, 'USAGE') THEN 'usage'
         WHEN pg_class.oid IS NULL THEN 'table'
         WHEN pg_attribute.attnum IS NULL THEN 'column'
         ELSE 'privilege'
       END,
       needed.schema_name,
       needed.table_name,
       needed.column_name
  FROM unnest(%(schemas)s::text[], %(tables)s::text[], %(columns)s::text[])
       AS needed (schema_name, table_name, column_name)
  LEFT JOIN pg_catalog.pg_namespace
    ON pg_namespace.nspname = needed.schema_name
  LEFT JOIN pg_catalog.pg_class
    ON pg_class.relnamespace = pg_namespace.oid
   AND pg_class.relname = needed.table_name
  LEFT JOIN pg_catalog.pg_attribute
    ON pg_attribute.attrelid = pg_class.oid
   AND pg_attribute.attname = needed.column_name
   AND pg_attribute.attnum > 0
   AND NOT pg_attribute.attisdropped
 WHERE pg_attribute.attnum IS NULL
    OR NOT has_schema_privilege(pg_namespace.oid, 'USAGE')
    OR NOT has_column_privilege(pg_class.oid, pg_attribute.attnum, 'SELECT')
 ORDER BY needed.schema_name, needed.table_name, needed.column_name
