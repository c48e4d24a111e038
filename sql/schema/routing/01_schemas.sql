-- Money and access live in schemas of their own, as in a Yeti installation; contractors are in public.
CREATE SCHEMA IF NOT EXISTS billing;
CREATE SCHEMA IF NOT EXISTS sys;
