-- incoming-cdrs: filters on the Call-ID towards the vendor by equality, by a list, and by leading digits and punctuation.
CREATE INDEX ON cdr.cdr USING btree (term_call_id text_pattern_ops);
