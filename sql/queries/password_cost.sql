-- The highest bcrypt cost of all logins, to which failed logins are padded.
SELECT max(substring(access.password_digest FROM '^\$2[abxy]?\$(\d\d)\$'))
  FROM sys.api_access AS access
