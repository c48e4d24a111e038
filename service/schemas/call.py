"""The common attributes of both legs of a call."""

from service.schemas.base import ResourceSchema
from service.schemas.fields import Boolean, Identifier, Integer, String, Timestamp, ToAccount

# Not attributes of CallSchema, because each leg has them at another position.
SRC_PREFIX_ROUTING = String("Caller number used for routing.")
DST_PREFIX_ROUTING = String("Called number used for routing.")
LOCAL_TAG = String("Local SIP tag of the call; also the name of its recording.")
REC = Boolean("True if a recording exists and may be downloaded.", queryable=False, nullable=False)


class CallSchema(ResourceSchema):
    """A call attempt as one party sees it: a row of cdr.cdr."""

    id = Identifier("Id of the CDR.")
    time_start = Timestamp("Time of the call attempt.", nullable=False)
    time_connect = Timestamp("Time of the answer.")
    time_end = Timestamp("Time of the end of the call.")
    duration = Integer("Seconds from answer to end.")
    success = Boolean("True if the call was answered.")
    account = ToAccount("The account that this leg is billed to.")

    class Meta(ResourceSchema.Meta):
        database = "cdr"
        window = "time_start"
        default_sort = "-time_start"
