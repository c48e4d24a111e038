-- The calls with an id in the partitions of some spans of time, given as constants so that no other is planned.
(
SELECT *
  FROM cdr.cdr AS cdr
 WHERE cdr.id = %(id)s
   AND ({spans})
OFFSET 0
)
