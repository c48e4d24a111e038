"""incoming-cdrs: the terminating leg (contract 2.2)."""

from service.schemas.call import DST_PREFIX_ROUTING, LOCAL_TAG, REC, SRC_PREFIX_ROUTING, CallSchema
from service.schemas.fields import Boolean, Decimal, Integer, String


class IncomingCdrSchema(CallSchema):
    """Calls that were routed to the customer as a vendor: the terminating leg of every routing attempt."""

    dialpeer_initial_interval = Integer("First billing interval of the dialpeer, in seconds.")
    dialpeer_initial_rate = Decimal("Price per minute in the first interval, in the vendor account's currency.")
    dialpeer_next_interval = Integer("Billing interval after the first, in seconds.")
    dialpeer_next_rate = Decimal("Price per minute after the first interval, in the vendor account's currency.")
    dialpeer_fee = Decimal("Connection fee of the dialpeer, in the vendor account's currency.")
    dialpeer_prefix = String("Destination prefix of the dialpeer.")
    vendor_price = Decimal("Price of the call, in the vendor account's currency.")
    vendor_duration = Integer("Billed seconds.")
    src_name_out = String("Caller name sent to the vendor.")
    src_prefix_out = String("Caller number sent to the vendor.")
    dst_prefix_out = String("Called number sent to the vendor.")
    src_prefix_routing = SRC_PREFIX_ROUTING
    dst_prefix_routing = DST_PREFIX_ROUTING
    diversion_out = String("Diversion header sent to the vendor.")
    local_tag = LOCAL_TAG
    legb_disconnect_code = Integer("SIP or internal disconnect code of the leg.")
    legb_disconnect_reason = String("Disconnect reason of the leg.")
    sign_term_ip = String("Signalling IP address of the vendor.")
    sign_term_port = Integer("Signalling port of the vendor.")
    sign_term_transport_protocol_id = Integer("Transport to the vendor: 1 UDP, 2 TCP, 3 TLS, 5 WS.")
    term_call_id = String("SIP Call-ID of the leg to the vendor.")
    legb_user_agent = String("User agent of the vendor's equipment.")
    rec = REC
    dialpeer_reverse_billing = Boolean("True if the vendor pays for the call.", shown=False)

    class Meta(CallSchema.Meta):
        type_ = "incoming-cdrs"
        hidden_setting = "incoming_cdr_hide_fields"
