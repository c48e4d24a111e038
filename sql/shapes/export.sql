-- All records of a resource from a position on, to be fetched in batches, so that neither side holds them all.
DECLARE export NO SCROLL CURSOR FOR
SELECT {columns}
  FROM ({resource}) AS r
 WHERE {conditions}
 ORDER BY {order}
 LIMIT %(limit)s
