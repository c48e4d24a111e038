-- When calls with these ids began, whoever they belong to, in one part of the time axis.
SELECT DISTINCT cdr.id,
       cdr.time_start
  FROM {calls} AS cdr
 WHERE cdr.id = ANY(%(ids)s)
   AND ({where})
