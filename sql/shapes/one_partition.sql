-- The calls with an id in one partition, named directly so that no other is planned, for as long as it is a partition
-- of cdr.cdr. OFFSET 0 has the id looked up first, whatever the planner knows of a partition that is new.
(
SELECT *
  FROM {partition} AS cdr
 WHERE cdr.id = %(id)s
   AND pg_partition_root(%(oid)s::oid::regclass) = 'cdr.cdr'::regclass
OFFSET 0
)
