\set n :first + random(0, :keys - 1)
SELECT idem_pay('r' || :n, 50.00);
