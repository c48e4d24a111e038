-- The internal numbers of accounts by UUID, for any customer: CDRs refer to accounts by number.
SELECT accounts.id
  FROM billing.accounts
 WHERE accounts.uuid IN %(uuids)s
