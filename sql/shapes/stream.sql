-- All records of a resource, to be fetched piece by piece, so that no side ever holds them all.
DECLARE export NO SCROLL CURSOR FOR
SELECT {columns}
  FROM ({resource}) AS r
 WHERE {conditions}
 ORDER BY {order}
 LIMIT %(limit)s
