-- The lowest and highest id of rows of one partition, from the index on id.
SELECT {oid}::bigint,
       (SELECT min(id) FROM {calls} WHERE {where}),
       (SELECT max(id) FROM {calls} WHERE {where})
