-- A known key, with its amount or with another one. The function catches the error.
\set n :first + random(0, :keys - 1)
\set scope :n % :scopes + 1
SELECT try_to_pay('r' || :n, :amount, 's' || :scope);
