-- a payment out of one account with a floor, to any other
\set n (:first + random(0, :keys - 1)) * 1000000000 + random(0, 999999999)
\set to random(1, :accounts)
SELECT * FROM idem_pay('r' || :n, 50.00, from_account => 'till', to_account => 'w' || :to);
