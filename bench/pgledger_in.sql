-- pgledger's transfer from any account into one without limits
\set from random(1, :accounts)
SELECT * FROM pgledger_create_transfer('w' || :from, 'shop', 50.00);
