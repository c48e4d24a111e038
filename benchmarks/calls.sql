-- A day's calls that ended in a span of time. The same number always makes the same call; ids follow the ends of calls.
-- One call in 20,000 comes three days late, and seven in ten belong to vendor 1.
INSERT INTO cdr.cdr (
    id, uuid, time_start, time_connect, time_end, duration, success, is_last_cdr, customer_id, customer_acc_id, vendor_id,
    vendor_acc_id, node_id, pop_id, core_version, yeti_version, orig_gw_id, term_gw_id, routing_plan_id, rateplan_id,
    destination_id, destination_prefix, destination_initial_interval, destination_initial_rate, destination_next_interval,
    destination_next_rate, destination_fee, customer_price, customer_duration, dialpeer_id, dialpeer_prefix,
    dialpeer_initial_interval, dialpeer_initial_rate, dialpeer_next_interval, dialpeer_next_rate, dialpeer_fee,
    dialpeer_reverse_billing, vendor_price, vendor_duration, profit, src_name_in, src_name_out, src_prefix_in,
    src_prefix_out, src_prefix_routing, dst_prefix_in, dst_prefix_out, dst_prefix_routing, from_domain, to_domain,
    ruri_domain, auth_orig_ip, auth_orig_port, auth_orig_transport_protocol_id, sign_orig_ip, sign_orig_port,
    sign_term_ip, sign_term_port, sign_term_transport_protocol_id, orig_call_id, term_call_id, local_tag, legb_local_tag,
    global_tag, lega_user_agent, legb_user_agent, lega_disconnect_code, lega_disconnect_reason, legb_disconnect_code,
    legb_disconnect_reason, internal_disconnect_code, internal_disconnect_reason, audio_recorded
)
SELECT
    id, md5(id::text)::uuid, started, CASE WHEN answered THEN started + interval '3.2 s' END, ended, seconds, answered,
    dice %% 10 < 8, 1 + dice %% 20, 10 + dice %% 40, vendor_id, vendor_id * 10 + dice %% 3, 1, 1, '1.13', '1.13',
    dice %% 60, dice %% 70, 1, 1, dice %% 900, '44', 1, 0.0312, 1, 0.0312, 0, seconds * 0.0005, seconds, dice %% 800, '44',
    1, 0.0212, 1, 0.0212, 0, false, seconds * 0.000353, seconds, seconds * 0.0001, 'caller', 'caller',
    '44' || dice, '44' || dice, '44' || dice, '38' || id, '38' || id, '38' || id, 'sip.example.org', 'sip.example.org',
    'sip.example.org', '192.0.2.10', 5060, 1, '192.0.2.10', 5060, '198.51.100.21', 5060, 1,
    md5(id::text) || '@192.0.2.10', md5((id + 1)::text) || '@198.51.100.21', '8-' || upper(md5((id + 2)::text)),
    '8-' || upper(md5((id + 3)::text)), md5((id + 4)::text), 'Asterisk PBX 20.5.0', 'Meridian SBC 4.2',
    CASE WHEN answered THEN 200 ELSE 487 END, CASE WHEN answered THEN 'Bye' ELSE 'Request Terminated' END,
    CASE WHEN answered THEN 200 ELSE 487 END, CASE WHEN answered THEN 'Bye' ELSE 'Request Terminated' END,
    200, 'Bye', answered AND dice %% 7 = 0
  FROM (
    SELECT
        id, ended, dice, answered, vendor_id,
        CASE WHEN answered THEN dice %% 300 ELSE 0 END AS seconds,
        ended - (dice %% 300) * interval '1 s' - CASE WHEN number %% 20000 = 777 THEN interval '3 days' ELSE '0' END AS started
      FROM (
        SELECT
            number, %(first_id)s + number AS id, %(day)s::timestamptz + number * interval '1 day' / %(calls)s AS ended,
            abs(hashint4(number)) AS dice, abs(hashint4(number + 1)) %% 10 < 6 AS answered,
            CASE WHEN abs(hashint4(number + 2)) %% 10 < 7 THEN 1 ELSE 2 + abs(hashint4(number + 3)) %% 20 END AS vendor_id
          FROM generate_series(0, %(calls)s - 1) AS number
      ) AS thrown
  ) AS call
 WHERE ended > %(since)s
   AND ended <= %(until)s
