-- incoming-cdrs: filters on the called number sent to the vendor by equality, by a list, and by leading digits.
CREATE INDEX ON cdr.cdr USING btree (dst_prefix_out text_pattern_ops);
