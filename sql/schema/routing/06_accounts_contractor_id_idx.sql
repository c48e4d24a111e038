-- Every list of accounts is limited to one contractor.
CREATE INDEX IF NOT EXISTS accounts_contractor_id_idx ON billing.accounts (contractor_id);
