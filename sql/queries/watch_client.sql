-- Lets PostgreSQL notice soon that whoever waits for an export has gone, even while it sorts, instead of at the end.
SELECT set_config('client_connection_check_interval', '1s', true)
