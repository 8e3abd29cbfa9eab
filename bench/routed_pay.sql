-- a new key, in one of the scopes
\set n (:first + random(0, :keys - 1)) * 1000000000 + random(0, 999999999)
\set scope random(1, :scopes)
SELECT * FROM idem_pay('r' || :n, 50.00, scope => 's' || :scope);
