-- Calls live in a schema of their own, as in a Yeti installation.
CREATE SCHEMA IF NOT EXISTS cdr;
