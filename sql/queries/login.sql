-- The access row of a login: what its password is compared with, and whether it may be used from the client's address.
SELECT access.id,
       access.password_digest,
       coalesce(%(address)s::inet <<= ANY(access.allowed_ips), false)
  FROM sys.api_access AS access
 WHERE access.login = %(login)s
