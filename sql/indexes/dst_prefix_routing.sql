-- both resources: filters on the called number that routing saw by equality, by a list, and by leading digits.
CREATE INDEX ON cdr.cdr USING btree (dst_prefix_routing text_pattern_ops);
