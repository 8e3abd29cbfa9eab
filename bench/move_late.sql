-- a payment into the busy account whose transaction stays open for a while
\set n (:first + random(0, :keys - 1)) * 1000000000 + random(0, 999999999)
\set from random(1, :accounts)
BEGIN;
SELECT * FROM idem_pay('r' || :n, 50.00, from_account => 'w' || :from, to_account => 'shop');
\sleep 300 ms
COMMIT;
