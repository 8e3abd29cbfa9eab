-- The answer of idem_lookup_remittance(), for the extension idempotency_remit and for the router.
CREATE TYPE @extschema@.idem_remittance AS (
	key				text COLLATE "C",
	payment_id		uuid,
	status			text COLLATE "C",
	from_account	text COLLATE "C",
	to_scope		text COLLATE "C",
	to_account		text COLLATE "C",
	amount			numeric,
	currency		text COLLATE "C",
	reference		text,
	metadata		jsonb,
	created_at		timestamptz,
	settled_at		timestamptz,
	sqlstate		text COLLATE "C",
	message			text
);
COMMENT ON TYPE @extschema@.idem_remittance IS
	'what became of money that was sent to another scope';

