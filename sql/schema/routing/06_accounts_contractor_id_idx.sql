-- Every list of accounts asks for one contractor's.
CREATE INDEX IF NOT EXISTS accounts_contractor_id_idx ON billing.accounts (contractor_id);
