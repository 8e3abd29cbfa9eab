\set n random(1, 100000)
SELECT * FROM bare WHERE scope = '' AND key = 'r' || :n;
