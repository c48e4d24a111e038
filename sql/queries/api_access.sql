-- What an access row grants; a missing profile permits nothing.
SELECT access.customer_id,
       access.account_ids,
       coalesce(profile.allow_listen_recording, false)
  FROM sys.api_access AS access
  LEFT JOIN sys.customer_portal_access_profiles AS profile
    ON profile.id = access.customer_portal_access_profile_id
 WHERE access.id = %(id)s
