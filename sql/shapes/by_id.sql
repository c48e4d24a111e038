-- The conditions that a look-up by id adds to a resource. The range repeats the id, so that the planner prefers the index
-- on id even for a new partition without statistics.
AND cdr.id = %(id)s
   AND cdr.id BETWEEN %(id)s AND %(id)s
   AND ({where})
