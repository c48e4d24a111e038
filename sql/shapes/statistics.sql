-- Sums of the calls of a resource by bucket. width_bucket() finds the bucket by bisection in an array of starts, so buckets
-- may have any length.
SELECT width_bucket(r.time_start, %(starts)s::timestamptz[]) AS bucket,
       count(*),
       count(*) FILTER (WHERE r.duration > 0),
       count(*) FILTER (WHERE r.duration = 0),
       coalesce(sum(r.{duration}), 0),
       coalesce(sum(r.duration) FILTER (WHERE r.duration > 0), 0),
       coalesce(sum(r.{price}), 0)
  FROM ({resource}) AS r
 WHERE {conditions}
 GROUP BY bucket
