-- How many records of a resource meet the conditions.
SELECT count(*)
  FROM ({resource}) AS r
 WHERE {conditions}
