-- The range of ids of sampled calls of one partition; with three or more samples, without the lowest and the highest.
SELECT {oid}::bigint,
       (array_agg(sample.id ORDER BY sample.id))[CASE WHEN count(*) > 2 THEN 2 ELSE 1 END],
       (array_agg(sample.id ORDER BY sample.id))[CASE WHEN count(*) > 2 THEN count(*) - 1 ELSE count(*) END]
  FROM ({probes}) AS sample
