-- The calls with an id in one partition, named directly so that no other is planned, for as long as it is a partition
-- of cdr.cdr. OFFSET 0 has the id looked up first, whatever the planner knows of a partition that is new.
(
SELECT *
  FROM {partition} AS cdr
 WHERE cdr.id = %(id)s
   AND EXISTS (
         SELECT
           FROM pg_catalog.pg_inherits
          WHERE inhrelid = %(oid)s::oid
            AND inhparent = 'cdr.cdr'::regclass
            AND NOT inhdetachpending
       )
OFFSET 0
)
