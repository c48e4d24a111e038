"""What the fuzzer cannot know: values of the formats that the description names, and ids that exist."""

import os
from datetime import date
from typing import Any

import schemathesis
from hypothesis import strategies as st

OFFSETS = st.sampled_from(["", "Z", "+00:00", "-08:00", "+0530"])
CALL, ACCOUNT = os.environ["FUZZ_CALL"], os.environ["FUZZ_ACCOUNT"]
MOST = 2**63 // 1000 - 1  # Pages of any size.

# Python and PostgreSQL know the years 1 to 9999, and an offset must not lead out of them.
days = st.dates(min_value=date(1, 1, 2), max_value=date(9999, 12, 30)).map(str)
clocks = st.times().map(lambda time: time.isoformat(timespec="milliseconds"))
moments = st.builds("{}{}{}{}".format, days, st.sampled_from("T "), clocks, OFFSETS)

networks = st.one_of(
    st.builds("{}/{}".format, st.ip_addresses(v=4), st.integers(0, 32)),
    st.builds("{}/{}".format, st.ip_addresses(v=6), st.integers(0, 128)),
)

schemathesis.openapi.format("moment", days | moments)
schemathesis.openapi.format("inet", st.ip_addresses().map(str) | networks)
schemathesis.openapi.format("decimal", st.decimals(allow_nan=False, allow_infinity=False, places=4).map(str))


@schemathesis.hook
def before_call(context: Any, case: Any, _: Any) -> None:
    """Every other id that is well-formed becomes one that exists, and the largest pages stay within 2^63 records."""
    number = case.query.get("page[number]")
    if isinstance(number, int) and number > MOST:
        case.query["page[number]"] = number % MOST + 1
    identifier = case.path_parameters.get("id")
    if str(identifier).lstrip("-").isdecimal() and int(identifier) % 2 == 0:
        case.path_parameters["id"] = CALL
    elif isinstance(identifier, str) and len(identifier) == 36 and identifier[-1] in "02468ace":
        case.path_parameters["id"] = ACCOUNT
