------------------------------------------------------------------------------
-- Sending
------------------------------------------------------------------------------

-- Errors have the class that the setting "idempotency.error_class" asks for, as those of the extension idempotency.
CREATE FUNCTION idempotency_remit.state(status text)
RETURNS text
LANGUAGE sql STABLE STRICT
RETURN coalesce(nullif(current_setting('idempotency.error_class', true), ''), 'ID') || status;
COMMENT ON FUNCTION idempotency_remit.state(text) IS
	'the SQLSTATE of an error with this HTTP status';

-- The scope of a call, as the extension idempotency takes it. Any of its functions raises 22004 if it takes no default.
CREATE FUNCTION idempotency_remit.scope(scope text)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF scope IS NULL THEN
		PERFORM @extschema@.idem_lookup('any key');
	END IF;
	RETURN coalesce(scope, current_setting('idempotency.scope', true), '');
END
$$;
COMMENT ON FUNCTION idempotency_remit.scope(text) IS
	'the scope of a call with this argument';

-- The clearing account of a scope and a currency. It is opened when it is needed first.
CREATE FUNCTION idempotency_remit.clearing_account(scope text, currency text)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	name constant text := 'idem_clearing:' || currency;
	account @extschema@.idem_account;
BEGIN
	IF EXISTS (SELECT FROM idempotency_remit.clearing c WHERE c.scope = clearing_account.scope AND c.currency = clearing_account.currency) THEN
		RETURN name;
	END IF;
	SELECT * INTO account FROM @extschema@.idem_lookup_account(name, scope => clearing_account.scope);
	IF account.name IS NULL THEN
		account := @extschema@.idem_account_open(name, currency, scope => clearing_account.scope);
	END IF;
	-- Who opened it could take the money that is on its way.
	IF account.owner <> current_user OR account.currency <> currency THEN
		RAISE EXCEPTION 'clearing account belongs to another role' USING ERRCODE = idempotency_remit.state('403'),
			DETAIL = format('Account "%s" of scope "%s" was opened by role "%s", in "%s".', name, scope, account.owner, account.currency);
	END IF;
	INSERT INTO idempotency_remit.clearing VALUES (scope, currency) ON CONFLICT DO NOTHING;
	RETURN name;
END
$$;
COMMENT ON FUNCTION idempotency_remit.clearing_account(text, text) IS
	'returns the name of the account that money goes through on its way from and to a scope';

-- Stores the order of a posting that this transaction has made. The posting says all but where the money goes. False: there
-- is no such posting.
CREATE FUNCTION idempotency_remit.store_order(key text, scope text, from_account text, to_scope text, to_account text)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	posting record;
BEGIN
	-- A row that we see and whose transaction is in progress is our own. Others are not to be trusted: a caller could name a
	-- posting to the clearing account that somebody else has made.
	SELECT o.*, given.amount AS its_amount, c.currency AS its_currency INTO posting
	FROM idempotency.operation o,
		jsonb_to_recordset(o.legs) AS given(account text, amount numeric),
		jsonb_to_recordset(o.legs) AS taken(account text, amount numeric),
		idempotency_remit.clearing c
	WHERE o.key = store_order.key AND o.scope = store_order.scope AND jsonb_array_length(o.legs) = 2
		AND c.scope = o.scope AND given.account = 'idem_clearing:' || c.currency AND given.amount > 0
		AND taken.account = store_order.from_account AND taken.amount < 0
		AND pg_xact_status(((pg_current_xact_id()::text::bigint >> 32 << 32) + o.xmin::text::bigint)::text::xid8) = 'in progress';
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	-- Names that the other side could not even refuse
	BEGIN
		PERFORM @extschema@.idem_lookup_account(store_order.to_account, scope => store_order.to_scope);
	EXCEPTION WHEN data_exception THEN
		RAISE EXCEPTION 'to_scope or to_account cannot be that of an account' USING ERRCODE = 'invalid_parameter_value', DETAIL = SQLERRM;
	END;
	INSERT INTO idempotency_remit.remittance
		(scope, key, payment_id, status, from_account, to_scope, to_account, amount, currency, reference, metadata, role, created_at,
		due_at, sqlstate, message)
	VALUES (posting.scope, posting.key, posting.payment_id, CASE WHEN posting.sqlstate IS NULL THEN 'sent' ELSE 'declined' END,
		store_order.from_account, store_order.to_scope, store_order.to_account, posting.its_amount, posting.its_currency, posting.reference,
		posting.metadata, posting.role, posting.created_at, posting.created_at, posting.sqlstate, posting.message)
	ON CONFLICT DO NOTHING;
	RETURN true;
END
$$;
COMMENT ON FUNCTION idempotency_remit.store_order(text, text, text, text, text) IS
	'stores the order to move the money of a posting to another scope';

CREATE VIEW idempotency_remit.own_remittance WITH (security_barrier) AS
SELECT r.scope, r.key, r.payment_id, r.status, r.from_account, r.to_scope, r.to_account, r.amount, r.currency, r.reference, r.metadata,
	r.created_at, r.settled_at,
	-- why it takes long is for administrators, who see the table
	CASE WHEN r.status <> 'sent' THEN r.sqlstate END AS sqlstate,
	CASE WHEN r.status <> 'sent' THEN r.message END AS message
FROM idempotency_remit.remittance r
WHERE EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.rolname = r.role AND pg_catalog.pg_has_role(o.oid, 'USAGE'));
COMMENT ON VIEW idempotency_remit.own_remittance IS
	'remittances of the roles whose privileges the current role has';

-- Errors: those of idem_post(); 22004 if an argument is null that must not be; 22003 if the amount is not above zero; 22023
-- if the account has another currency; ID422 if the key was used for something else.
CREATE FUNCTION @extschema@.idem_remit(
	key text,
	from_account text,
	to_scope text,
	to_account text,
	amount numeric,
	currency text DEFAULT NULL,
	reference text DEFAULT NULL,
	metadata anycompatible DEFAULT NULL::text,
	scope text DEFAULT NULL,
	declines text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	missing constant text := CASE
		WHEN from_account IS NULL THEN 'from_account'
		WHEN to_scope IS NULL THEN 'to_scope'
		WHEN to_account IS NULL THEN 'to_account'
		WHEN amount IS NULL THEN 'amount' END;
	its_scope constant text := idempotency_remit.scope(scope);
	account @extschema@.idem_account;
	receipt @extschema@.idem_receipt;
	stored idempotency_remit.own_remittance;
	differs text;
BEGIN
	IF missing IS NOT NULL THEN
		RAISE EXCEPTION '% must not be null', missing USING ERRCODE = 'null_value_not_allowed';
	ELSIF amount <= 0 THEN
		RAISE EXCEPTION 'amount must be greater than zero' USING ERRCODE = 'numeric_value_out_of_range';
	ELSIF from_account ^@ 'idem_clearing:' OR to_account ^@ 'idem_clearing:' THEN
		RAISE EXCEPTION 'a clearing account neither sends nor receives' USING ERRCODE = 'invalid_parameter_value';
	ELSIF coalesce(octet_length(reference), 0) + coalesce(octet_length(metadata::text), 0) > 65536 THEN
		-- many orders are sent together
		RAISE EXCEPTION 'reference and metadata are too long' USING ERRCODE = 'program_limit_exceeded',
			DETAIL = 'Together they may have 65536 bytes.';
	END IF;

	SELECT * INTO account FROM @extschema@.idem_lookup_account(from_account, scope => its_scope);
	IF account.currency <> currency THEN
		RAISE EXCEPTION 'account has another currency' USING ERRCODE = 'invalid_parameter_value',
			DETAIL = format('The request is in "%s", but account "%s" is in "%s".', currency, from_account, account.currency);
	END IF;
	receipt := @extschema@.idem_post(key,
		ARRAY[
			ROW(from_account, -amount)::@extschema@.idem_entry,
			ROW(CASE WHEN account.name IS NOT NULL THEN idempotency_remit.clearing_account(its_scope, account.currency) ELSE 'idem_clearing:' END,
				amount)::@extschema@.idem_entry],
		reference, metadata, its_scope, declines);
	-- A key that was cancelled before has no effect.
	IF receipt.kind <> 'post' THEN
		RETURN receipt;
	END IF;
	IF receipt.replayed OR NOT idempotency_remit.store_order(key, its_scope, from_account, to_scope, to_account) THEN
		SELECT * INTO stored FROM idempotency_remit.own_remittance r WHERE r.key = idem_remit.key AND r.scope = its_scope;
		differs := CASE
			WHEN stored.key IS NULL THEN 'Field "kind" differs: it was "post", and now it is "remit".'
			WHEN stored.to_scope <> to_scope THEN format('Field "to_scope" differs: it was "%s", and now it is "%s".', stored.to_scope, to_scope)
			WHEN stored.to_account <> to_account
				THEN format('Field "to_account" differs: it was "%s", and now it is "%s".', stored.to_account, to_account) END;
	END IF;
	IF differs IS NOT NULL THEN
		RAISE EXCEPTION 'idempotency key was used with a different request' USING ERRCODE = idempotency_remit.state('422'), DETAIL = differs,
			HINT = 'If this is a retry, resend the original request unchanged. Use a new key only for a new request.';
	END IF;
	RETURN receipt;
END
$$;
COMMENT ON FUNCTION @extschema@.idem_remit(text, text, text, text, numeric, text, text, anycompatible, text, text) IS
	'sends an amount to an account of another scope, once per key; a relay delivers it, or sends it back if the other side refuses';

CREATE FUNCTION @extschema@.idem_lookup_remittance(
	key text,
	scope text DEFAULT NULL)
RETURNS SETOF @extschema@.idem_remittance
LANGUAGE sql STABLE ROWS 1
BEGIN ATOMIC
	SELECT r.key, r.payment_id, r.status, r.from_account, r.to_scope, r.to_account, r.amount, r.currency, r.reference, r.metadata,
		r.created_at, r.settled_at, r.sqlstate, r.message
	FROM idempotency_remit.own_remittance r
	WHERE r.key = idem_lookup_remittance.key AND r.scope = idempotency_remit.scope(idem_lookup_remittance.scope);
END;
COMMENT ON FUNCTION @extschema@.idem_lookup_remittance(text, text) IS
	'returns what became of money that was sent to another scope, or no row; writes nothing';

