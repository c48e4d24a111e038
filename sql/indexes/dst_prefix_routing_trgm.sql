-- both resources: filters on the called number that routing saw by three or more characters anywhere in it, and by a prefix with letters.
CREATE INDEX ON cdr.cdr USING gin (dst_prefix_routing gin_trgm_ops);
