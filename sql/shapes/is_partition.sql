-- Whether a table is a partition of cdr.cdr. Evaluated by the planner, which replans when a partition is detached.
pg_partition_root({oid}::oid::regclass) = 'cdr.cdr'::regclass
