-- What an access row grants. A missing profile permits nothing. account_ids is NULL where the row names no accounts and so
-- all of the customer's are meant; NULL elements are no accounts, so that an array of nothing else grants none.
SELECT access.customer_id,
       CASE
         WHEN cardinality(access.account_ids) > 0
         THEN ARRAY(SELECT number FROM unnest(access.account_ids) AS number WHERE number IS NOT NULL)
       END AS account_ids,
       coalesce(profile.allow_listen_recording, false)
  FROM sys.api_access AS access
  LEFT JOIN sys.customer_portal_access_profiles AS profile
    ON profile.id = access.customer_portal_access_profile_id
 WHERE access.id = %(id)s
