-- both resources: filters on the local tag by equality, by a list, and by leading digits and punctuation.
CREATE INDEX ON cdr.cdr USING btree (local_tag text_pattern_ops);
