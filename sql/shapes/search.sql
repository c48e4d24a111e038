-- The start times of calls with these ids, of any customer, in one range of time.
SELECT DISTINCT cdr.id,
       cdr.time_start
  FROM {calls} AS cdr
 WHERE cdr.id = ANY(%(ids)s)
   AND ({where})
