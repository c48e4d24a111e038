"""cdrs: the originating leg (contract 2.3)."""

from service.schemas.call import DST_PREFIX_ROUTING, LOCAL_TAG, REC, SRC_PREFIX_ROUTING, CallSchema
from service.schemas.fields import Boolean, Decimal, Inet, Integer, String


class CdrSchema(CallSchema):
    """Calls that the customer originated: the originating leg of the last routing attempt."""

    destination_initial_interval = Integer("First billing interval of the destination, in seconds.")
    destination_initial_rate = Decimal("Price per minute in the first interval, in the account's currency.")
    destination_next_interval = Integer("Billing interval after the first, in seconds.")
    destination_next_rate = Decimal("Price per minute after the first interval, in the account's currency.")
    destination_fee = Decimal("Connection fee of the destination, in the account's currency.")
    customer_price = Decimal("Price of the call, in the account's currency.")
    customer_duration = Integer("Billed seconds.")
    src_name_in = String("Caller name as received.")
    src_prefix_in = String("Caller number as received.")
    from_domain = String("Domain of the From header.")
    dst_prefix_in = String("Called number as received.")
    to_domain = String("Domain of the To header.")
    ruri_domain = String("Domain of the request URI.")
    diversion_in = String("Diversion header as received.")
    local_tag = LOCAL_TAG
    lega_disconnect_code = Integer("SIP or internal disconnect code of the leg.")
    lega_disconnect_reason = String("Disconnect reason of the leg.")
    auth_orig_transport_protocol_id = Integer("Transport from the customer: 1 UDP, 2 TCP, 3 TLS, 5 WS.")
    auth_orig_ip = Inet("Source IP address of the call.")
    auth_orig_port = Integer("Source port of the call.")
    src_prefix_routing = SRC_PREFIX_ROUTING
    dst_prefix_routing = DST_PREFIX_ROUTING
    destination_prefix = String("Prefix of the billed destination.")
    orig_call_id = String("SIP Call-ID of the customer.")
    lega_user_agent = String("User agent of the customer's equipment.")
    rec = REC
    customer_acc_vat = Decimal("Value added tax of the account, in percent.", shown=False)
    customer_price_no_vat = Decimal("Price of the call without tax, in the account's currency.", shown=False)
    destination_reverse_billing = Boolean("True if the customer is paid for the call.", shown=False)
    pai_in = String("P-Asserted-Identity header as received.", shown=False)
    ppi_in = String("P-Preferred-Identity header as received.", shown=False)
    privacy_in = String("Privacy header as received.", shown=False)
    rpid_in = String("Remote-Party-ID header as received.", shown=False)
    rpid_privacy_in = String("Privacy part of the Remote-Party-ID header as received.", shown=False)

    class Meta(CallSchema.Meta):
        type_ = "cdrs"
        hidden_setting = "outgoing_cdr_hide_fields"
