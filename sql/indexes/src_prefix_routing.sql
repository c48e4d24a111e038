-- both resources: filters on the caller number that routing saw by equality, by a list, and by leading digits.
CREATE INDEX ON cdr.cdr USING btree (src_prefix_routing text_pattern_ops);
