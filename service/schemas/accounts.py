"""accounts: what calls are billed to (contract 2.4)."""

from service.schemas.base import ResourceSchema
from service.schemas.fields import Decimal, Integer, String, Uuid


class AccountSchema(ResourceSchema):
    """Accounts of the customer; clients know them by their UUID, CDRs point to them by an internal number."""

    id = Uuid("UUID of the account.", queryable=False)
    name = String("Name of the account.", nullable=False)
    balance = Decimal("Money on the account, in its currency.")
    min_balance = Decimal("Balance below which calls are refused.")
    max_balance = Decimal("Balance above which calls are refused.")
    destination_rate_limit = Decimal("Highest price of a minute that the account accepts.")
    origination_capacity = Integer("Most simultaneous originated calls.")
    termination_capacity = Integer("Most simultaneous terminated calls.")
    total_capacity = Integer("Most simultaneous calls.")
    currency = String("ISO 4217 code of the account's currency.", queryable=False, nullable=False)
    balance_low_threshold = Decimal("Balance that raises a low-balance notice.", shown=False)
    balance_high_threshold = Decimal("Balance that raises a high-balance notice.", shown=False)
    max_call_duration = Integer("Longest call, in seconds.", shown=False)
    external_id = Integer("Number of the account in the carrier's other systems.", shown=False)
    uuid = Uuid("UUID of the account.", shown=False)

    class Meta(ResourceSchema.Meta):
        type_ = "accounts"
        database = "routing"
        number = "number"
