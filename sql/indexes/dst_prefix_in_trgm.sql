-- cdrs: filters on the called number as received by three or more characters anywhere in it, and by a prefix with letters.
CREATE INDEX ON cdr.cdr USING gin (dst_prefix_in gin_trgm_ops);
