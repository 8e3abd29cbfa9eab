-- pgledger's transfer between two accounts
\set from random(1, :accounts)
\set to 1 + (:from + random(0, :accounts - 2)) % :accounts
SELECT * FROM pgledger_create_transfer('w' || :from, 'w' || :to, 50.00);
