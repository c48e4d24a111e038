-- Whether a table is a partition of a table of calls. The planner answers this, and plans anew when a partition is detached.
pg_partition_root({oid}::oid::regclass) = '{table}'::regclass
