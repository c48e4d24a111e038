"""What both legs of a call share."""

from service.schemas.base import ResourceSchema
from service.schemas.fields import Boolean, Identifier, Integer, String, Timestamp, ToAccount

# Each leg shows these at another place among its own attributes, so each names them where they belong.
SRC_PREFIX_ROUTING = String("Caller number that routing saw.")
DST_PREFIX_ROUTING = String("Called number that routing saw.")
LOCAL_TAG = String("Local SIP tag of the call; names its recording.")
REC = Boolean("Whether there is a recording that the caller may hear.", queryable=False, nullable=False)


class CallSchema(ResourceSchema):
    """A call attempt as one party sees it: a row of cdr.cdr."""

    id = Identifier("Number of the CDR.")
    time_start = Timestamp("When the call attempt arrived.", nullable=False)
    time_connect = Timestamp("When the call was answered.")
    time_end = Timestamp("When the call ended.")
    duration = Integer("Seconds from answer to end.")
    success = Boolean("Whether the call was answered.")
    account = ToAccount("The account that this leg is billed to.")

    class Meta(ResourceSchema.Meta):
        database = "cdr"
        window = "time_start"
        default_sort = "-time_start"
