-- incoming-cdrs: filters on the caller number sent to the vendor by three or more characters anywhere in it, and by a prefix with letters.
CREATE INDEX ON cdr.cdr USING gin (src_prefix_out gin_trgm_ops);
