-- A digest of the current partitions of a table of calls. If it changes, the directory must be reloaded.
SELECT md5(string_agg(inhrelid::text || inhdetachpending::text, ',' ORDER BY inhrelid))
  FROM pg_catalog.pg_inherits
 WHERE inhparent = to_regclass(%(table)s)
