-- Between which ids some rows of one partition lie; both ends come from the index on id.
SELECT {oid}::bigint,
       (SELECT min(id) FROM {calls} WHERE {where}),
       (SELECT max(id) FROM {calls} WHERE {where})
