"""The rows of the examples in the OpenAPI document: a customer with two accounts and two calls per direction."""

from datetime import UTC, date, datetime
from typing import Any

from service.db import schema
from tests.conftest import Data, Databases

CUSTOMER = 7  # It may hear recordings.
ACCOUNTS = {101: "3f0c2f5e-7b1d-4a61-9d4e-0c1de2b5a777", 102: "8a3b6c1e-52d7-4a0e-9c4f-71f2a9d0b1c2"}
CALLS: dict[str, Any] = {
    "customer_id": CUSTOMER,
    "customer_acc_id": 101,
    "vendor_id": CUSTOMER,
    "vendor_acc_id": 102,
    "destination_prefix": "4477",
    "destination_fee": 0,
    "destination_initial_interval": 60,
    "destination_initial_rate": "0.042",
    "destination_next_interval": 1,
    "destination_next_rate": "0.042",
    "dialpeer_prefix": "4477",
    "dialpeer_fee": 0,
    "dialpeer_initial_interval": 1,
    "dialpeer_initial_rate": "0.0312",
    "dialpeer_next_interval": 1,
    "dialpeer_next_rate": "0.0312",
    "src_name_in": "Ann Example",
    "src_name_out": "Ann Example",
    "src_prefix_in": "12025550143",
    "src_prefix_out": "12025550143",
    "src_prefix_routing": "12025550143",
    "dst_prefix_in": "00447700900171",
    "dst_prefix_out": "447700900171",
    "dst_prefix_routing": "447700900171",
    "from_domain": "pbx.example.org",
    "to_domain": "sip.example.net",
    "ruri_domain": "sip.example.net",
    "auth_orig_ip": "198.51.100.20",
    "auth_orig_port": 5060,
    "auth_orig_transport_protocol_id": 1,
    "sign_term_ip": "192.0.2.11",
    "sign_term_port": 5060,
    "sign_term_transport_protocol_id": 1,
    "lega_user_agent": "Asterisk PBX 20.5.0",
    "legb_user_agent": "Kamailio 5.8",
}
RESPONSE_STARTED: dict[str, Any] = {
    "time_start": datetime(2026, 3, 2, 8, 15, 30, 120000, UTC),
    "time_connect": datetime(2026, 3, 2, 8, 15, 41, 802000, UTC),
    "time_end": datetime(2026, 3, 2, 8, 16, 53, 310000, UTC),
    "duration": 72,
    "success": True,
    "customer_duration": 72,
    "customer_price": "0.0504",
    "vendor_duration": 72,
    "vendor_price": "0.03744",
    "lega_disconnect_code": 200,
    "lega_disconnect_reason": "Bye",
    "legb_disconnect_code": 200,
    "legb_disconnect_reason": "Bye",
    "local_tag": "8-1A2B3C4D",
    "orig_call_id": "5f1c2ad0@198.51.100.20",
    "term_call_id": "86998686@203.0.113.8",
    "audio_recorded": True,
}
BUSY: dict[str, Any] = {
    "time_start": datetime(2026, 3, 2, 8, 10, 2, 7000, UTC),
    "time_end": datetime(2026, 3, 2, 8, 10, 5, 419000, UTC),
    "duration": 0,
    "success": False,
    "customer_duration": 0,
    "customer_price": 0,
    "vendor_duration": 0,
    "vendor_price": 0,
    "lega_disconnect_code": 486,
    "lega_disconnect_reason": "Busy here",
    "legb_disconnect_code": 486,
    "legb_disconnect_reason": "Busy here",
    "local_tag": "8-1A2B3C4C",
    "orig_call_id": "77d0e1f2@198.51.100.20",
    "term_call_id": "45ab9920@203.0.113.8",
}


def fill(postgres: Databases, prepared: str) -> Data:
    """A new copy of the prepared database, with these rows."""
    data = Data(postgres, postgres.create(prepared))
    schema.create_partitions(data.dsn, date(2026, 3, 2), date(2026, 3, 2))
    data.customer(CUSTOMER, may_listen=True)
    data.account(101, CUSTOMER, ACCOUNTS[101], name="Main", balance="12.50", min_balance=-10, max_balance=1000)
    data.account(102, CUSTOMER, ACCOUNTS[102], name="Termination", balance="-3.1", origination_capacity=30)
    data.call(902, **CALLS, **RESPONSE_STARTED)
    data.call(901, **CALLS, **BUSY)
    return data
