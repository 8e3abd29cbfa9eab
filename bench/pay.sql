\set n random(1, 1000000000000000)
SELECT * FROM idem_pay('k' || :n, 50.00);
