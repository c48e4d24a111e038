-- What a look-up by id adds to the condition that says whose rows a resource has. IS TRUE leaves no index to choose but
-- the id's, whatever the planner knows of a partition that is new.
IS TRUE
   AND cdr.id = %(id)s
   AND ({where})
