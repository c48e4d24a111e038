-- Thresholds for notifications of low or high balances; most accounts have none.
INSERT INTO billing.account_balance_notification_settings (account_id, low_threshold, high_threshold)
VALUES
    (1011, 100, 4000),
    (1021, 25, NULL),
    (1031, NULL, 900)
ON CONFLICT DO NOTHING;
