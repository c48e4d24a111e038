-- cdrs: filters on the Call-ID of the customer by three or more characters anywhere in it, and by a prefix with letters.
CREATE INDEX ON cdr.cdr USING gin (orig_call_id gin_trgm_ops);
