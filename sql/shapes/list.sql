-- One page of a resource.
SELECT {columns}
  FROM ({resource}) AS r
 WHERE {conditions}
 ORDER BY {order}
 LIMIT %(limit)s
OFFSET %(offset)s
