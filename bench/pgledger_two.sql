-- two of pgledger's transfers in one transaction
\set from1 random(1, :accounts)
\set to1 1 + (:from1 + random(0, :accounts - 2)) % :accounts
\set from2 random(1, :accounts)
\set to2 1 + (:from2 + random(0, :accounts - 2)) % :accounts
BEGIN;
SELECT * FROM pgledger_create_transfer('w' || :from1, 'w' || :to1, 50.00);
SELECT * FROM pgledger_create_transfer('w' || :from2, 'w' || :to2, 50.00);
COMMIT;
