-- What a look-up by id adds to the conditions that say whose rows a resource has. The range repeats the id, so that the
-- planner prefers the index on id whatever it knows of a partition that is new.
AND cdr.id = %(id)s
   AND cdr.id BETWEEN %(id)s AND %(id)s
   AND ({where})
