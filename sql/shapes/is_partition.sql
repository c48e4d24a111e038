-- Whether a table is a partition of a table of calls. Evaluated by the planner, which replans when a partition is detached.
pg_partition_root({oid}::oid::regclass) = '{table}'::regclass
