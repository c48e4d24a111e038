-- What a look-up by id adds to the conditions that say whose rows a resource has. IS TRUE takes away their indexes, so
-- that the id's is used, whatever the planner knows of a partition that is new.
IS TRUE
   AND cdr.id = %(id)s
   AND ({where})
