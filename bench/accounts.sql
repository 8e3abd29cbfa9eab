-- The accounts 'world' and 'shop' without limits, and the wallets 'w1' and so on, with a floor and enough money. Variable: accounts, how many.
SELECT count(idem_account_open(name)) FROM (VALUES ('world'), ('shop')) AS v(name) \g /dev/null
SELECT count(idem_account_open('w' || g, floor => 0)) FROM generate_series(1, :accounts) g \g /dev/null
SELECT count(idem_pay('fund ' || g, 1000000000, from_account => 'world', to_account => 'w' || g))
FROM generate_series(1, :accounts) g \g /dev/null
VACUUM ANALYZE idempotency.account, idempotency.entry;
