"""The sample request of the specification, answered byte for byte."""

import re
from datetime import UTC, date, datetime

import pytest

from service.db import schema
from tests.conftest import Answer, Api, Data

ETAG = 'W/"9273f4a9f3a4d4107adc0b316210d9aa"'
HEADERS = {
    "x-frame-options": "SAMEORIGIN",
    "x-xss-protection": "0",
    "x-content-type-options": "nosniff",
    "x-permitted-cross-domain-policies": "none",
    "referrer-policy": "strict-origin-when-cross-origin",
    "content-type": "application/vnd.api+json",
    "vary": "Accept",
    "etag": ETAG,
    "cache-control": "max-age=0, private, must-revalidate",
    "content-length": "1072",
}
BODY = (
    '{"data":{"id":"24","type":"incoming-cdrs","links":{"self":"http://example.org/api/rest/customer/v1/incoming-cdrs/24"},'
    '"attributes":{"time-start":"2026-02-27T16:55:53.518Z","time-connect":"2026-02-27T16:55:53.518Z",'
    '"time-end":"2026-02-27T16:56:23.518Z","duration":30,"success":true,"dialpeer-initial-interval":null,'
    '"dialpeer-initial-rate":null,"dialpeer-next-interval":null,"dialpeer-next-rate":null,"dialpeer-fee":null,'
    '"dialpeer-prefix":null,"vendor-price":null,"vendor-duration":null,"src-name-out":null,"src-prefix-out":null,'
    '"dst-prefix-out":null,"src-prefix-routing":"SRC Prefix Routing","dst-prefix-routing":"DST Prefix Routing",'
    '"diversion-out":null,"local-tag":"EU","legb-disconnect-code":null,"legb-disconnect-reason":null,'
    '"sign-term-ip":null,"sign-term-port":null,"sign-term-transport-protocol-id":null,"term-call-id":null,'
    '"legb-user-agent":null,"rec":false},"relationships":{"account":{"links":{'
    '"self":"http://example.org/api/rest/customer/v1/incoming-cdrs/24/relationships/account",'
    '"related":"http://example.org/api/rest/customer/v1/incoming-cdrs/24/account"}}}}}'
)


@pytest.fixture
def seed(data: Data) -> None:
    start = datetime(2026, 2, 27, 16, 55, 53, 518999, UTC)
    schema.create_partitions(data.dsn, date(2026, 2, 27), date(2026, 2, 27))
    data.customer(27)
    data.insert(
        "cdr.cdr",
        id=24,
        time_start=start,
        time_connect=start,
        time_end=start.replace(minute=56, second=23),
        duration=30,
        success=True,
        src_prefix_routing="SRC Prefix Routing",
        dst_prefix_routing="DST Prefix Routing",
        local_tag="EU",
        vendor_id=27,
    )


async def ask(api: Api, **headers: str) -> Answer:
    return await api.get("incoming-cdrs/24", 27, headers={"Content-Type": "application/vnd.api+json", **headers})


async def test_the_seed_is_answered_to_the_byte(api: Api, seed: None) -> None:
    answer = await ask(api)
    assert answer.status == 200
    assert answer.body.decode() == BODY
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer.headers["x-request-id"])
    assert re.fullmatch(r"\d+\.\d{6}", answer.headers["x-runtime"])


async def test_a_client_that_has_the_seed_gets_an_empty_304(api: Api, seed: None) -> None:
    answer = await ask(api, **{"If-None-Match": ETAG})
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["etag"] == ETAG
    assert "content-type" not in answer.headers
