-- The indexes of a Yeti installation with their names, so that an existing installation gets no new ones; there is none on
-- vendor_acc_id.
CREATE INDEX IF NOT EXISTS cdr_id_idx ON cdr.cdr (id);
CREATE INDEX IF NOT EXISTS cdr_time_start_idx ON cdr.cdr (time_start);
CREATE INDEX IF NOT EXISTS cdr_vendor_id_time_start_idx ON cdr.cdr (vendor_id, time_start);
CREATE INDEX IF NOT EXISTS cdr_customer_id_time_start_idx ON cdr.cdr (customer_id, time_start);
CREATE INDEX IF NOT EXISTS cdr_customer_acc_id_time_start_idx ON cdr.cdr (customer_acc_id, time_start);
CREATE INDEX IF NOT EXISTS cdr_customer_acc_external_id_time_start_idx
    ON cdr.cdr (customer_acc_external_id, time_start)
 WHERE is_last_cdr;
