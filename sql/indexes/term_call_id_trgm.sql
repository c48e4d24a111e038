-- incoming-cdrs: filters on the Call-ID towards the vendor by three or more characters anywhere in it, and by a prefix with letters.
CREATE INDEX ON cdr.cdr USING gin (term_call_id gin_trgm_ops);
