-- 6,000 calls of the last ten days, more of them towards now. Everything except the time is derived from a hash of the
-- call's number. Applied again, it adds only calls that ended after the newest existing one.
INSERT INTO cdr.cdr (
    uuid,
    time_start,
    time_connect,
    time_end,
    duration,
    success,
    routing_attempt,
    is_last_cdr,
    is_redirected,
    early_media_present,
    routing_delay,
    pdd,
    rtt,
    node_id,
    pop_id,
    core_version,
    yeti_version,
    customer_id,
    customer_external_id,
    customer_auth_id,
    customer_auth_name,
    customer_acc_id,
    customer_acc_external_id,
    customer_acc_vat,
    customer_account_check_balance,
    vendor_id,
    vendor_external_id,
    vendor_acc_id,
    vendor_acc_external_id,
    orig_gw_id,
    term_gw_id,
    routing_plan_id,
    routing_group_id,
    routing_tag_ids,
    rateplan_id,
    destination_id,
    destination_prefix,
    destination_initial_interval,
    destination_initial_rate,
    destination_next_interval,
    destination_next_rate,
    destination_fee,
    destination_rate_policy_id,
    destination_reverse_billing,
    customer_duration,
    customer_price,
    customer_price_no_vat,
    dialpeer_id,
    dialpeer_prefix,
    dialpeer_initial_interval,
    dialpeer_initial_rate,
    dialpeer_next_interval,
    dialpeer_next_rate,
    dialpeer_fee,
    dialpeer_reverse_billing,
    vendor_duration,
    vendor_price,
    profit,
    src_name_in,
    src_name_out,
    src_prefix_in,
    src_prefix_out,
    src_prefix_routing,
    dst_prefix_in,
    dst_prefix_out,
    dst_prefix_routing,
    diversion_in,
    diversion_out,
    src_country_id,
    dst_country_id,
    from_domain,
    to_domain,
    ruri_domain,
    pai_in,
    privacy_in,
    auth_orig_ip,
    auth_orig_port,
    auth_orig_transport_protocol_id,
    sign_orig_ip,
    sign_orig_port,
    sign_orig_local_ip,
    sign_orig_local_port,
    sign_orig_transport_protocol_id,
    sign_term_ip,
    sign_term_port,
    sign_term_local_ip,
    sign_term_local_port,
    sign_term_transport_protocol_id,
    orig_call_id,
    term_call_id,
    local_tag,
    legb_local_tag,
    global_tag,
    lega_user_agent,
    legb_user_agent,
    lega_disconnect_code,
    lega_disconnect_reason,
    legb_disconnect_code,
    legb_disconnect_reason,
    internal_disconnect_code,
    internal_disconnect_reason,
    disconnect_initiator_id,
    audio_recorded,
    dump_level_id
)
WITH customer (
    customer_id, customer_ip, customer_port, customer_protocol_id, customer_agent,
    domain, dial_prefix, vat, check_balance
) AS (
    VALUES
        (101, '192.0.2.10'::inet, 5060, 1, 'Asterisk PBX 20.5.0', 'sip.acme.example', '+', 0, true),
        (102, '192.0.2.77'::inet, 5061, 3, 'FreeSWITCH-mod_sofia/1.10.10', 'voice.borealis.example', '00', 20, true),
        (103, '2001:db8:103::5'::inet, 5060, 2, 'Cisco-SIPGateway/IOS-17.6', 'cassava.example', '', 0, false)
),
vendor (vendor_id, vendor_ip, vendor_port, vendor_protocol_id, vendor_agent) AS (
    VALUES
        (101, '192.0.2.11', 5060, 1, 'Asterisk PBX 20.5.0'),
        (102, '192.0.2.78', 5061, 3, 'FreeSWITCH-mod_sofia/1.10.10'),
        (103, '2001:db8:103::6', 5060, 2, 'Cisco-SIPGateway/IOS-17.6'),
        (201, '198.51.100.21', 5060, 1, 'Meridian SBC 4.2'),
        (202, '198.51.100.22', 5080, 1, NULL),
        (203, '2001:db8:203::1', 5060, 2, 'Polar-Softswitch')
),
-- Phone numbers reserved for fiction: a prefix and a number of digits. Intervals are in seconds, rates per minute.
destination (
    destination_id, country_id, prefix, stem, digits,
    sell_initial, sell_next, sell_rate, sell_fee, buy_initial, buy_next, buy_rate, buy_fee
) AS (
    VALUES
        (0, 1, '1212', '121255501', 2, 60, 60, 0.0120, 0, 6, 6, 0.0085, 0),
        (1, 44, '447700', '447700900', 3, 1, 1, 0.0450, 0, 1, 1, 0.0312, 0),
        (2, 44, '4420', '442079460', 3, 30, 6, 0.0090, 0, 1, 1, 0.0061, 0),
        (3, 33, '33639', '3363998', 4, 60, 30, 0.1150, 0.01, 30, 30, 0.0940, 0),
        (4, 49, '4930', '493023125', 3, 60, 1, 0.0135, 0, 1, 1, 0.0099, 0),
        (5, 61, '612', '6125550', 4, 6, 6, 0.0280, 0.02, 6, 6, 0.0215, 0.005)
),
-- 16 bytes of a hash are 16 random values from 0 to 255, so that the same number always gives the same call.
-- MATERIALIZED from here on, because each hash would be computed hundreds of times otherwise.
throw AS MATERIALIZED (
    SELECT
        number,
        decode(md5('call' || number), 'hex') AS dice,
        now() - interval '3 minutes' - interval '237 hours' * power(number / 6000::float8, 1.5) AS ended
      FROM generate_series(1, 6000) AS number
),
-- The result of a call: 45 % are answered; half of those with code 404 found no route and have no vendor.
call AS MATERIALIZED (
    SELECT
        throw.*,
        number || extract(epoch FROM ended)::text AS call_key,
        (ARRAY[101, 101, 102, 103])[1 + get_byte(dice, 0) % 4] AS customer_id,
        get_byte(dice, 3) % 6 AS destination_id,
        CASE
            WHEN get_byte(dice, 2) < 115 THEN 200
            WHEN get_byte(dice, 2) < 175 THEN 486
            WHEN get_byte(dice, 2) < 215 THEN 487
            WHEN get_byte(dice, 2) < 236 THEN 404
            ELSE 503
        END AS last_code,
        get_byte(dice, 2) NOT BETWEEN 215 AND 225 AS routed,
        CASE
            WHEN get_byte(dice, 2) BETWEEN 215 AND 225 OR get_byte(dice, 11) < 180 THEN 1
            WHEN get_byte(dice, 11) < 230 THEN 2
            ELSE 3
        END AS attempts,
        interval '1 millisecond' * (300 + get_byte(dice, 15) * 11) AS hunting,
        interval '1 millisecond' * (900 + get_byte(dice, 8) * 130) AS ringing,
        CASE
            WHEN get_byte(dice, 2) < 115
            THEN interval '1 second'
                * (1 - 150 * ln((256 * get_byte(dice, 9) + get_byte(dice, 10) + 1) / 65537::float8))
            ELSE interval '0'
        END AS talk
      FROM throw
     WHERE ended > (SELECT coalesce(max(time_end), '-infinity') FROM cdr.cdr)
),
-- Every attempt except the last fails quickly, and the next vendor is tried.
attempt AS MATERIALIZED (
    SELECT
        call.*,
        attempt,
        attempt = attempts AS is_last,
        attempt = attempts AND last_code = 200 AS answered,
        CASE
            WHEN attempt = attempts THEN last_code
            WHEN get_byte(dice, 12) % 3 = attempt THEN 404
            ELSE 503
        END AS code,
        ended - talk - ringing - (attempts - attempt) * hunting AS started,
        CASE
            WHEN attempt = attempts THEN ended
            ELSE ended - talk - ringing - (attempts - attempt - 1) * hunting
        END AS stopped,
        CASE WHEN attempt = attempts THEN ceil(extract(epoch FROM talk))::integer ELSE 0 END AS duration,
        (ARRAY[101, 201, 102, 202, 103, 203, 101, 102])[1 + (get_byte(dice, 12) + attempt) % 8] AS drawn_vendor_id
      FROM call
     CROSS JOIN generate_series(1, attempts) AS attempt
),
-- A contractor is not its own vendor: such a call goes to a carrier instead.
party AS (
    SELECT
        attempt.*,
        customer_id * 10 + CASE get_byte(dice, 1) % 4 WHEN 0 THEN 2 ELSE 1 END AS customer_acc_id,
        CASE
            WHEN NOT routed THEN NULL
            WHEN drawn_vendor_id = customer_id THEN 201 + get_byte(dice, 11) % 3
            ELSE drawn_vendor_id
        END AS vendor_id,
        8 + get_byte(dice, 7) % 2 AS node_id,
        '203.0.113.' || 8 + get_byte(dice, 7) % 2 AS node_ip,
        CASE code
            WHEN 200 THEN 'Bye'
            WHEN 486 THEN 'Busy Here'
            WHEN 487 THEN 'Request Terminated'
            WHEN 404 THEN 'Not Found'
            WHEN 503 THEN 'Service Unavailable'
        END AS reason
      FROM attempt
),
-- Contractors, accounts, numbers and tags of the calls.
leg AS MATERIALIZED (
    SELECT
        party.*,
        customer_ip,
        customer_port,
        customer_protocol_id,
        customer_agent,
        domain,
        dial_prefix,
        vat,
        check_balance,
        vendor_ip,
        vendor_port,
        vendor_protocol_id,
        vendor_agent,
        vendor_id * 10 + CASE WHEN vendor_id < 200 AND get_byte(dice, 6) % 3 = 0 THEN 2 ELSE 1 END AS vendor_acc_id,
        destination.country_id,
        destination.prefix,
        destination.sell_initial,
        destination.sell_next,
        destination.sell_rate,
        destination.sell_fee,
        destination.buy_initial,
        destination.buy_next,
        destination.buy_rate,
        destination.buy_fee,
        source.country_id AS src_country_id,
        source.stem
            || right('000' || (get_byte(dice, 4) * 256 + get_byte(dice, 6)), source.digits) AS src_number,
        destination.stem
            || right('000' || (get_byte(dice, 5) * 256 + get_byte(dice, 10)), destination.digits) AS dst_number,
        (ARRAY['Alice', 'Bob', 'Front desk', 'Zoë', '', NULL, NULL, NULL])[1 + get_byte(dice, 14) % 8] AS src_name,
        CASE get_byte(dice, 14) % 32
            WHEN 9 THEN source.stem || right('000' || get_byte(dice, 1), source.digits)
        END AS diversion,
        node_id || '-' || upper(left(md5('tag' || call_key), 8) || '-' || right(md5(call_key), 12)) AS local_tag
      FROM party
      JOIN customer USING (customer_id)
      JOIN destination USING (destination_id)
      JOIN destination AS source ON source.destination_id = get_byte(dice, 6) % 6
      LEFT JOIN vendor USING (vendor_id)
),
-- A started interval is billed in full; calls that are not answered cost nothing.
billed AS MATERIALIZED (
    SELECT
        leg.*,
        CASE
            WHEN NOT answered THEN 0
            ELSE sell_initial + sell_next * ceil(greatest(duration - sell_initial, 0) / sell_next::numeric)
        END AS customer_duration,
        CASE
            WHEN NOT answered THEN 0
            ELSE buy_initial + buy_next * ceil(greatest(duration - buy_initial, 0) / buy_next::numeric)
        END AS vendor_duration
      FROM leg
),
priced AS (
    SELECT
        billed.*,
        round(answered::integer * (sell_fee + sell_rate * customer_duration / 60), 6) AS customer_price_no_vat,
        round(answered::integer * (buy_fee + buy_rate * vendor_duration / 60), 6) AS vendor_price
      FROM billed
)
SELECT
    md5('uuid' || call_key || attempt)::uuid,
    started,
    CASE WHEN answered THEN stopped - talk END,
    stopped,
    duration,
    answered,
    attempt,
    is_last,
    false,
    routed AND get_byte(dice, 9) < 160,
    0.004 + get_byte(dice, 10) / 8000.0,
    CASE WHEN routed THEN 0.2 + get_byte(dice, 12) / 100.0 END,
    CASE WHEN routed THEN 0.01 + get_byte(dice, 13) / 2000.0 END,
    node_id,
    1,
    '1.15.0',
    '1.15.0',
    customer_id,
    7000 + customer_id,
    customer_id + 3000,
    domain,
    customer_acc_id,
    CASE WHEN customer_acc_id <> 1032 THEN 90000 + customer_acc_id END,
    vat,
    check_balance,
    vendor_id,
    CASE WHEN vendor_id <> 203 THEN 7000 + vendor_id END,
    vendor_acc_id,
    CASE WHEN vendor_acc_id NOT IN (1032, 2031) THEN 90000 + vendor_acc_id END,
    customer_id + 4000,
    vendor_id + 5000,
    1,
    CASE WHEN routed THEN 1 END,
    '{}',
    1,
    destination_id + 600,
    prefix,
    sell_initial,
    sell_rate,
    sell_next,
    sell_rate,
    sell_fee,
    1,
    false,
    customer_duration,
    round(customer_price_no_vat * (100 + vat) / 100, 6),
    customer_price_no_vat,
    vendor_id * 10 + destination_id + 10000,
    CASE WHEN routed THEN prefix END,
    CASE WHEN routed THEN buy_initial END,
    CASE WHEN routed THEN buy_rate END,
    CASE WHEN routed THEN buy_next END,
    CASE WHEN routed THEN buy_rate END,
    CASE WHEN routed THEN buy_fee END,
    CASE WHEN routed THEN false END,
    CASE WHEN routed THEN vendor_duration END,
    CASE WHEN routed THEN vendor_price END,
    customer_price_no_vat - vendor_price,
    src_name,
    CASE WHEN routed THEN src_name END,
    dial_prefix || src_number,
    CASE WHEN routed THEN src_number END,
    src_number,
    dial_prefix || dst_number,
    CASE WHEN routed THEN dst_number END,
    dst_number,
    diversion,
    CASE WHEN routed THEN diversion END,
    src_country_id,
    country_id,
    domain,
    node_ip,
    node_ip,
    CASE get_byte(dice, 14) % 4 WHEN 1 THEN '<sip:+' || src_number || '@' || domain || '>' END,
    CASE get_byte(dice, 14) % 16 WHEN 5 THEN 'id' END,
    customer_ip,
    customer_port,
    customer_protocol_id,
    host(customer_ip),
    customer_port,
    node_ip,
    5060,
    customer_protocol_id,
    vendor_ip,
    vendor_port,
    CASE WHEN routed THEN node_ip END,
    CASE WHEN routed THEN 5060 END,
    vendor_protocol_id,
    md5('orig' || call_key) || '@' || domain,
    CASE WHEN routed THEN upper(md5('term' || call_key || attempt)) || '@' || node_ip END,
    local_tag,
    CASE WHEN routed THEN local_tag || '-B' || attempt END,
    md5('global' || call_key),
    customer_agent,
    CASE WHEN code <> 503 THEN vendor_agent END,
    CASE WHEN is_last THEN code END,
    CASE WHEN is_last THEN reason END,
    CASE WHEN routed THEN code END,
    CASE WHEN routed THEN reason END,
    code,
    CASE WHEN routed THEN reason ELSE 'No routes' END,
    CASE WHEN code IN (200, 487) THEN 3 WHEN routed THEN 2 ELSE 0 END,
    answered AND get_byte(dice, 13) < 110,
    0
  FROM priced
 ORDER BY stopped;
