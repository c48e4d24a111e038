-- The schemas of accounts and access, as in a Yeti installation; contractors are in public.
CREATE SCHEMA IF NOT EXISTS billing;
CREATE SCHEMA IF NOT EXISTS sys;
