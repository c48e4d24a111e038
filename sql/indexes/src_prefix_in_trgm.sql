-- cdrs: filters on the caller number as received by three or more characters anywhere in it, and by a prefix with letters.
CREATE INDEX ON cdr.cdr USING gin (src_prefix_in gin_trgm_ops);
