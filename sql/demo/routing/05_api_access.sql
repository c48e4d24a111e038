-- One login per customer: one that may listen, one limited to a single account, one as every login is by default.
INSERT INTO sys.api_access (
    id,
    customer_id,
    login,
    password_digest,
    account_ids,
    customer_portal_access_profile_id
)
VALUES
    (21, 101, 'acme', 'no password: the demo prints tokens', '{}', 2),
    (22, 102, 'borealis', 'no password: the demo prints tokens', '{1021}', 1),
    (23, 103, 'cassava', 'no password: the demo prints tokens', '{}', 1)
ON CONFLICT DO NOTHING;
