-- The number of records that match the conditions.
SELECT count(*)
  FROM ({resource}) AS r
 WHERE {conditions}
