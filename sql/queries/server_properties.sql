-- The properties of the server that the service checks.
SELECT current_setting('server_version_num')::int,
       current_setting('server_version'),
       current_setting('server_encoding'),
       current_user::text
