-- The default profile, and one that may listen to recordings.
INSERT INTO sys.customer_portal_access_profiles (id, name, allow_listen_recording, created_at, updated_at)
VALUES
    (1, 'Default', false, '2026-01-01', '2026-01-01'),
    (2, 'May listen', true, '2026-01-01', '2026-01-01')
ON CONFLICT DO NOTHING;
