-- Three contractors that are customers and vendors, and three that are only vendors.
INSERT INTO public.contractors (id, name, enabled, vendor, customer, external_id)
VALUES
    (101, 'Acme Telecom', true, true, true, 7101),
    (102, 'Borealis Voice', true, true, true, 7102),
    (103, 'Cassava Networks', true, true, true, 7103),
    (201, 'Meridian Carrier', true, true, false, 7201),
    (202, 'Northgate Transit', true, true, false, 7202),
    (203, 'Polar Wholesale', true, true, false, NULL)
ON CONFLICT DO NOTHING;
