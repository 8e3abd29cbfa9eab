-- The accounts: 'world' and 'shop' without limits; 'till' and the wallets 'w1' and so on with a floor, and with enough money.
-- Variable: accounts, how many wallets.
SELECT count(idem_account_open(name)) FROM (VALUES ('world'), ('shop')) AS v(name) \g /dev/null
SELECT count(idem_account_open(name, floor => 0))
FROM (SELECT 'till' UNION ALL SELECT 'w' || g FROM generate_series(1, :accounts) g) AS v(name) \g /dev/null
\ir fund.sql
VACUUM ANALYZE idempotency.account, idempotency.entry;
