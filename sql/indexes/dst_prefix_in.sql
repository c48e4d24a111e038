-- cdrs: filters on the called number as received by equality, by a list, and by leading digits.
CREATE INDEX ON cdr.cdr USING btree (dst_prefix_in text_pattern_ops);
