-- Statistics of the columns in conditions, for good plans from the start.
ANALYZE cdr.cdr (
    id,
    time_start,
    customer_id,
    customer_acc_id,
    vendor_id,
    vendor_acc_id,
    is_last_cdr
);
