-- Fresh statistics of what calls are looked up by, so that the first questions are already planned well.
ANALYZE cdr.cdr (
    id,
    time_start,
    customer_id,
    customer_acc_id,
    vendor_id,
    vendor_acc_id,
    is_last_cdr
);
