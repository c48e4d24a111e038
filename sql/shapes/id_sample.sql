-- Some ids of one partition, of calls that are spread over its time.
SELECT {oid}::bigint,
       ARRAY[{samples}]
