"""accounts (contract 2.4)."""

from service.schemas.base import ResourceSchema
from service.schemas.fields import Decimal, Integer, String, Uuid


class AccountSchema(ResourceSchema):
    """Accounts of the customer, to which calls are billed. The id is a UUID; CDRs refer to an internal number."""

    id = Uuid("UUID of the account.", queryable=False)
    name = String("Name of the account.", nullable=False)
    balance = Decimal("Balance in the account's currency.")
    min_balance = Decimal("Balance below which calls are refused.")
    max_balance = Decimal("Balance above which calls are refused.")
    destination_rate_limit = Decimal("Maximum price per minute.")
    origination_capacity = Integer("Maximum number of simultaneous originated calls.")
    termination_capacity = Integer("Maximum number of simultaneous terminated calls.")
    total_capacity = Integer("Maximum number of simultaneous calls.")
    currency = String("ISO 4217 code of the account's currency.", queryable=False, nullable=False)
    balance_low_threshold = Decimal("Balance below which a notification is sent.", shown=False)
    balance_high_threshold = Decimal("Balance above which a notification is sent.", shown=False)
    max_call_duration = Integer("Maximum duration of a call, in seconds.", shown=False)
    external_id = Integer("Id of the account in an external system.", shown=False)
    uuid = Uuid("UUID of the account.", shown=False)

    class Meta(ResourceSchema.Meta):
        type_ = "accounts"
        database = "routing"
        number = "number"
