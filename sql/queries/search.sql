-- Which partitions hold calls with these ids, whoever they belong to; all partitions are asked.
SELECT DISTINCT cdr.id,
       cdr.tableoid::bigint
  FROM cdr.cdr
 WHERE cdr.id = ANY(%(ids)s)
