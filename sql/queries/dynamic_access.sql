-- Whether a dynamic token's customer and profile still exist, and what the profile permits.
SELECT profile.allow_listen_recording
  FROM public.contractors AS contractor
 CROSS JOIN sys.customer_portal_access_profiles AS profile
 WHERE contractor.id = %(customer_id)s
   AND profile.id = %(profile_id)s
