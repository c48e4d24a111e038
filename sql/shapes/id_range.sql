-- Between which ids the rows of one partition lie; both ends come from the index on id.
SELECT {oid}::bigint,
       (SELECT min(id) FROM {partition}),
       (SELECT max(id) FROM {partition})
