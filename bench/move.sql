-- a payment between two accounts, with a new key between the existing ones
\set n (:first + random(0, :keys - 1)) * 1000000000 + random(0, 999999999)
\set from random(1, :accounts)
\set to 1 + (:from + random(0, :accounts - 2)) % :accounts
SELECT * FROM idem_pay('r' || :n, 50.00, from_account => 'w' || :from, to_account => 'w' || :to);
