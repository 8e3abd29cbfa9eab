\set n random(1, 100000)
SELECT idem_pay('r' || :n, 50.00);
