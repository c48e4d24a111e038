-- both resources: filters on the local tag by three or more characters anywhere in it, and by a prefix with letters.
CREATE INDEX ON cdr.cdr USING gin (local_tag gin_trgm_ops);
