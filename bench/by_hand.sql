-- What a careful program has without the extension: INSERT ... ON CONFLICT in PL/pgSQL. The row is the stored answer; a repeat
-- is compared with it and gets it. The INSERT comes first, as most payments are new. The table is that of the bare INSERT, with
-- the same rows, and ids are made in our way.
--
-- It is good at READ COMMITTED on one server. It cannot do what README.md lists under "Why not UNIQUE": answer a repeat on a
-- standby or in a read-only transaction, wait until a stored answer is as durable as a commit, refuse to wait for a key that
-- is in use, know the decimals of currencies, hold, capture, refund, cancel, or move money between accounts.
CREATE TABLE by_hand (LIKE idempotency.operation INCLUDING ALL);
INSERT INTO by_hand SELECT * FROM idempotency.operation;
VACUUM ANALYZE by_hand;
CREATE FUNCTION pay_by_hand(new_key text, new_amount numeric, new_currency text DEFAULT 'USD', new_reference text DEFAULT NULL,
	new_metadata jsonb DEFAULT NULL, new_scope text DEFAULT '', OUT payment by_hand, OUT replayed boolean)
LANGUAGE plpgsql AS $$
BEGIN
	IF new_amount IS NULL OR new_amount <= 0 OR new_amount <> round(new_amount, 2) THEN
		RAISE EXCEPTION 'amount must be above zero and have at most two decimals' USING ERRCODE = 'numeric_value_out_of_range';
	END IF;
	IF new_key IS NULL OR octet_length(new_key) NOT BETWEEN 1 AND 255 THEN
		RAISE EXCEPTION 'key must have 1 to 255 bytes' USING ERRCODE = 'invalid_parameter_value';
	END IF;

	INSERT INTO by_hand (payment_id, created_at, seq, whole, scope, key, kind, amount, currency, authorized, captured, released,
		refunded, reference, metadata, role)
	VALUES (uuid7(), clock_timestamp(), 1, false, new_scope, new_key, 'pay', new_amount, new_currency, new_amount, new_amount, 0.00,
		0.00, new_reference, new_metadata, current_user)
	ON CONFLICT (key, scope) DO NOTHING
	RETURNING * INTO payment;
	replayed := NOT FOUND;

	IF replayed THEN
		SELECT * INTO STRICT payment FROM by_hand WHERE key = new_key AND scope = new_scope;
		IF payment.kind <> 'pay' OR payment.amount <> new_amount OR payment.currency <> new_currency
			OR payment.reference IS DISTINCT FROM new_reference OR payment.metadata IS DISTINCT FROM new_metadata THEN
			RAISE EXCEPTION 'key was used with a different request' USING ERRCODE = 'unique_violation';
		END IF;
	END IF;
END
$$;
