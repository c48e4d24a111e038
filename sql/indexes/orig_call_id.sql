-- cdrs: filters on the Call-ID of the customer by equality, by a list, and by leading digits and punctuation.
CREATE INDEX ON cdr.cdr USING btree (orig_call_id text_pattern_ops);
