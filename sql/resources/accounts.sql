-- The customer's accounts. The API identifies them by UUID, CDRs by number.
SELECT accounts.uuid AS id,
       accounts.id AS number,
       accounts.uuid,
       accounts.name,
       accounts.balance,
       accounts.min_balance,
       accounts.max_balance,
       accounts.destination_rate_limit,
       accounts.origination_capacity,
       accounts.termination_capacity,
       accounts.total_capacity,
       accounts.currency_name AS currency,
       accounts.max_call_duration,
       accounts.external_id,
       thresholds.low_threshold AS balance_low_threshold,
       thresholds.high_threshold AS balance_high_threshold
  FROM billing.accounts
  LEFT JOIN billing.account_balance_notification_settings AS thresholds
    ON thresholds.account_id = accounts.id
 WHERE accounts.contractor_id = %(customer_id)s
   AND (%(account_ids)s::bigint[] IS NULL OR accounts.id = ANY(%(account_ids)s::bigint[]))
