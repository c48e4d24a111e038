-- Sums over the calls of a resource from each start of a bucket until the next. PostgreSQL finds a call's bucket by bisection
-- in the array, so buckets may be of any length.
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
