-- Lets all that an export reads, its count included, be as of one moment.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ
