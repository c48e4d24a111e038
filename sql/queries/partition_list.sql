-- The partitions of a table of calls there are now, as one short text: whether the directory has to be read anew.
SELECT md5(string_agg(inhrelid::text || inhdetachpending::text, ',' ORDER BY inhrelid))
  FROM pg_catalog.pg_inherits
 WHERE inhparent = to_regclass(%(table)s)
