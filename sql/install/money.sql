------------------------------------------------------------------------------
-- Currencies
------------------------------------------------------------------------------

CREATE TABLE idempotency.currency (
	code			text COLLATE "C" PRIMARY KEY
					CHECK (code ~ '^[A-Z0-9]{3,12}$'),
	exponent		smallint NOT NULL
					CHECK (exponent BETWEEN 0 AND 18)
);
COMMENT ON TABLE idempotency.currency IS
	'currencies that are added to those of ISO 4217 or replace them; those of ISO 4217 are built in';
COMMENT ON COLUMN idempotency.currency.code IS
	'code of the currency, of 3 to 12 capital letters and digits';
COMMENT ON COLUMN idempotency.currency.exponent IS
	'number of decimals, from 0 to 18';
SELECT pg_catalog.pg_extension_config_dump('idempotency.currency', '');

-- The triggers also fire for logical replication. It fires only triggers that are
-- enabled ALWAYS: row triggers, and the statement triggers of TRUNCATE.
CREATE TRIGGER currency_changed
	AFTER INSERT OR UPDATE OR DELETE ON idempotency.currency
	FOR EACH ROW EXECUTE FUNCTION idempotency.table_changed();
CREATE TRIGGER currency_truncated
	AFTER TRUNCATE ON idempotency.currency
	FOR EACH STATEMENT EXECUTE FUNCTION idempotency.table_changed();
ALTER TABLE idempotency.currency ENABLE ALWAYS TRIGGER currency_changed;
ALTER TABLE idempotency.currency ENABLE ALWAYS TRIGGER currency_truncated;
