-- The ids of calls, in the order in which they end, across all partitions.
CREATE SEQUENCE IF NOT EXISTS cdr.cdr_id_seq AS bigint;
