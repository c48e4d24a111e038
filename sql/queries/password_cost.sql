-- The highest bcrypt cost of all logins, which every refused login is made to cost.
SELECT max(substring(access.password_digest FROM '^\$2[abxy]?\$(\d\d)\$'))
  FROM sys.api_access AS access
