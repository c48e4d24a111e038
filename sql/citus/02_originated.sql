-- A second copy of calls, distributed by customer, for databases.cdr.originated_table = "cdr.originated". It contains only
-- last attempts of calls with a customer, with the same id as in cdr.cdr.
CREATE TABLE cdr.originated (LIKE cdr.cdr) PARTITION BY RANGE (time_start);
ALTER TABLE cdr.originated ADD PRIMARY KEY (customer_id, id, time_start);
CREATE INDEX ON cdr.originated (id);
CREATE INDEX ON cdr.originated (time_start);
CREATE INDEX ON cdr.originated (customer_id, time_start);
CREATE INDEX ON cdr.originated (customer_acc_id, time_start);
SELECT create_distributed_table('cdr.originated', 'customer_id', colocate_with => 'none');
