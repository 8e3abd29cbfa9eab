\set n :first + random(0, :keys - 1)
SELECT * FROM bare WHERE scope = '' AND key = 'r' || :n;
