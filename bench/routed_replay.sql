\set n :first + random(0, :keys - 1)
\set scope :n % :scopes + 1
SELECT * FROM idem_pay('r' || :n, 50.00, scope => 's' || :scope);
