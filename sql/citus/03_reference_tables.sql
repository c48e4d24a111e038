-- Small tables are copied to every worker, if the routing database is the same.
SELECT create_reference_table('public.contractors');
SELECT create_reference_table('sys.customer_portal_access_profiles');
SELECT create_reference_table('sys.api_access');
SELECT create_reference_table('billing.accounts');
SELECT create_reference_table('billing.account_balance_notification_settings');
