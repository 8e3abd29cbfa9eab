\set account random(1, :accounts)
SELECT * FROM idem_balance('w' || :account);
