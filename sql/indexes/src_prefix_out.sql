-- incoming-cdrs: filters on the caller number sent to the vendor by equality, by a list, and by leading digits.
CREATE INDEX ON cdr.cdr USING btree (src_prefix_out text_pattern_ops);
