SELECT count(idem_pay('fund ' || name, 1000000000, from_account => 'world', to_account => name))
FROM (SELECT 'till' UNION ALL SELECT 'w' || g FROM generate_series(1, :accounts) g) AS v(name) \g /dev/null
