-- incoming-cdrs: filters on the called number sent to the vendor by three or more characters anywhere in it, and by a prefix with letters.
CREATE INDEX ON cdr.cdr USING gin (dst_prefix_out gin_trgm_ops);
