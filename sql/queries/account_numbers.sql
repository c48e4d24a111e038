-- The internal numbers of accounts by UUID, whoever they belong to: CDRs point to accounts by number.
SELECT accounts.id
  FROM billing.accounts
 WHERE accounts.uuid IN %(uuids)s
