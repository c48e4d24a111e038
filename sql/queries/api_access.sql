-- The scope of an access row. A missing profile permits nothing. account_ids is NULL if the row lists no accounts, which
-- means all of the customer's accounts. NULL elements are removed: an array of only NULLs grants no account.
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
