-- The calls that the customer terminated as a vendor; all routing attempts, so without is_last_cdr.
SELECT cdr.id,
       cdr.time_start,
       cdr.time_connect,
       cdr.time_end,
       cdr.duration,
       cdr.success,
       cdr.dialpeer_initial_interval,
       cdr.dialpeer_initial_rate,
       cdr.dialpeer_next_interval,
       cdr.dialpeer_next_rate,
       cdr.dialpeer_fee,
       cdr.dialpeer_prefix,
       cdr.dialpeer_reverse_billing,
       cdr.vendor_price,
       cdr.vendor_duration,
       cdr.src_name_out,
       cdr.src_prefix_out,
       cdr.dst_prefix_out,
       cdr.src_prefix_routing,
       cdr.dst_prefix_routing,
       cdr.src_country_id,
       cdr.dst_country_id,
       cdr.diversion_out,
       cdr.local_tag,
       cdr.legb_disconnect_code,
       cdr.legb_disconnect_reason,
       cdr.sign_term_ip,
       cdr.sign_term_port,
       cdr.sign_term_transport_protocol_id,
       cdr.term_call_id,
       cdr.legb_user_agent,
       {rec} AS rec,
       cdr.vendor_acc_id AS account_id
  FROM {calls} AS cdr
 WHERE (
         cdr.vendor_id = %(customer_id)s
         AND (%(account_ids)s::bigint[] IS NULL OR cdr.vendor_acc_id = ANY(%(account_ids)s::bigint[]))
       ) {narrowed}
