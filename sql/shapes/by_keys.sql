-- Records by id and start time. The times are constants, so that only their partitions are planned.
SELECT {columns},
       r.id,
       r.time_start
  FROM ({resource}) AS r
 WHERE r.id IN %(ids)s
   AND r.time_start IN %(times)s
