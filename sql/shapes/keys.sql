-- The keys of the first records, and the number of all matches up to %(max_count)s. The order is an expression without an
-- index, because the planner would otherwise scan the index of the order, expecting enough matches soon.
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
