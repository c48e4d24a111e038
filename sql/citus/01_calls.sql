-- Calls are distributed by vendor. Citus requires the distribution column in every unique constraint, without NULL: a call
-- without a vendor is stored with the vendor -1, which no contractor has as its id.
ALTER TABLE cdr.cdr DROP CONSTRAINT cdr_pkey;
ALTER TABLE cdr.cdr ALTER COLUMN vendor_id SET DEFAULT -1;
ALTER TABLE cdr.cdr ADD PRIMARY KEY (vendor_id, id, time_start);
SELECT create_distributed_table('cdr.cdr', 'vendor_id');
