-- The schema of the calls, as in a Yeti installation.
CREATE SCHEMA IF NOT EXISTS cdr;
