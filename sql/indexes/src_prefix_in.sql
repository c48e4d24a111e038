-- cdrs: filters on the caller number as received by equality, by a list, and by leading digits.
CREATE INDEX ON cdr.cdr USING btree (src_prefix_in text_pattern_ops);
