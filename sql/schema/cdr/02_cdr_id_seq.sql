-- Numbers the calls in the order in which they end; it outlives every partition.
CREATE SEQUENCE IF NOT EXISTS cdr.cdr_id_seq AS bigint;
