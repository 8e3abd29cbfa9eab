-- two payments between accounts in one transaction
\set n (:first + random(0, :keys - 1)) * 1000000000 + random(0, 999999999)
\set from1 random(1, :accounts)
\set to1 1 + (:from1 + random(0, :accounts - 2)) % :accounts
\set from2 random(1, :accounts)
\set to2 1 + (:from2 + random(0, :accounts - 2)) % :accounts
BEGIN;
SELECT * FROM idem_pay('a' || :n, 50.00, from_account => 'w' || :from1, to_account => 'w' || :to1);
SELECT * FROM idem_pay('b' || :n, 50.00, from_account => 'w' || :from2, to_account => 'w' || :to2);
COMMIT;
