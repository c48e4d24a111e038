-- The id of an account is its contractor's id and one digit, so that the demo calls can refer to it.
INSERT INTO billing.accounts (
    id,
    contractor_id,
    name,
    balance,
    min_balance,
    max_balance,
    external_id,
    origination_capacity,
    termination_capacity,
    total_capacity,
    destination_rate_limit,
    max_call_duration,
    vat,
    currency_id,
    currency_name,
    uuid
)
VALUES
    (1011, 101, 'Acme retail', 812.5044, 0, 5000, 91011, 100, 60, 120, 0.5, 7200, 0, 1, 'USD',
     '00000000-0000-4000-8000-000000001011'),
    (1012, 101, 'Acme wholesale', -140.02, -1000, 10000, 91012, 400, 400, 600, NULL, NULL, 0, 1, 'USD',
     '00000000-0000-4000-8000-000000001012'),
    (1021, 102, 'Borealis prepaid', 36.75, 0, 500, 91021, 30, 30, 30, 0.25, 3600, 20, 2, 'EUR',
     '00000000-0000-4000-8000-000000001021'),
    (1022, 102, 'Borealis postpaid', 2210.109, -2500, 10000, 91022, 250, NULL, 250, NULL, 7200, 20, 2, 'EUR',
     '00000000-0000-4000-8000-000000001022'),
    (1031, 103, 'Cassava main', 405, -50, 1000, 91031, NULL, NULL, NULL, NULL, NULL, 0, 1, 'USD',
     '00000000-0000-4000-8000-000000001031'),
    (1032, 103, 'Cassava test', 10, 0, 10, NULL, 2, 2, 2, 0.05, 600, 0, 1, 'USD',
     '00000000-0000-4000-8000-000000001032'),
    (2011, 201, 'Meridian', 15304.6, -50000, 50000, 92011, NULL, 1000, NULL, NULL, NULL, 0, 1, 'USD',
     '00000000-0000-4000-8000-000000002011'),
    (2021, 202, 'Northgate', 980.333, -20000, 20000, 92021, NULL, 500, NULL, NULL, NULL, 0, 2, 'EUR',
     '00000000-0000-4000-8000-000000002021'),
    (2031, 203, 'Polar', 77.1, -5000, 5000, NULL, NULL, 200, NULL, NULL, NULL, 0, 1, 'USD',
     '00000000-0000-4000-8000-000000002031')
ON CONFLICT DO NOTHING;
