-- Whether a table is a partition of cdr.cdr. The planner answers this, and plans anew when a partition is detached.
pg_partition_root({oid}::oid::regclass) = 'cdr.cdr'::regclass
