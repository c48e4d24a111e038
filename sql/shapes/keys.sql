-- Which records come first, and how many there are, at most %(max_count)s. Only keys are sorted, and in an order that no
-- index has: the planner would else read along one in the hope of meeting enough matches soon.
SELECT r.id,
       r.time_start,
       count(*) OVER ()
  FROM (
         SELECT r.id,
                r.time_start
           FROM ({resource}) AS r
          WHERE {conditions}
          ORDER BY {order}
          LIMIT %(max_count)s
       ) AS r
 LIMIT %(limit)s
