\set n random(1, 100000)
SELECT * FROM idem_pay('r' || :n, 50.00);
