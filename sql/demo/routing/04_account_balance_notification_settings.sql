-- Some owners want to know when money runs low, some when too much of it lies about, most neither.
INSERT INTO billing.account_balance_notification_settings (account_id, low_threshold, high_threshold)
VALUES
    (1011, 100, 4000),
    (1021, 25, NULL),
    (1031, NULL, 900)
ON CONFLICT DO NOTHING;
