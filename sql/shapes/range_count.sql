-- The number of records that match the conditions, in one of several time ranges.
SELECT {place} AS place,
       count(*)
  FROM ({resource}) AS r
 WHERE {conditions}
