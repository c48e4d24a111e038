-- One login per customer: one may listen to recordings, one is limited to a single account, one has the defaults. The
-- passwords are public: `demo`, a space and the login.
INSERT INTO sys.api_access (
    id,
    customer_id,
    login,
    password_digest,
    account_ids,
    customer_portal_access_profile_id
)
VALUES
    (21, 101, 'acme', '$2a$10$vs2eeNaJ4l8L8Xw3rsbTwOgv9UIU81Dlhvxv/gbIxeqGkKCownjqe', '{}', 2),
    (22, 102, 'borealis', '$2a$10$HHH0hwNoPH4GhYZnR3cszu5p3WefeYO/J1HKTBTnjDZGe6Jbv5u16', '{1021}', 1),
    (23, 103, 'cassava', '$2a$10$lfWoolmpdGB.OM5Bas8ay.KUjg7Esp6Cfxs6o/kzYPbvATBbcwjPW', '{}', 1)
ON CONFLICT DO NOTHING;
