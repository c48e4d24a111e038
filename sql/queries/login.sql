-- The access row of a login: its password digest, and whether it permits the client's address.
SELECT access.id,
       access.password_digest,
       coalesce(%(address)s::inet <<= ANY(access.allowed_ips), false)
  FROM sys.api_access AS access
 WHERE access.login = %(login)s
