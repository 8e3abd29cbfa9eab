-- Payments for PostgREST: one database role for all users, and a scope for each. Run by a superuser.

-- The roles of PostgREST. Supabase has these three already: leave the lines out there.
CREATE ROLE authenticator LOGIN NOINHERIT;
CREATE ROLE anon;
CREATE ROLE authenticated;
GRANT anon, authenticated TO authenticator;

-- The functions of the extension go to a schema that PostgREST does not serve.
CREATE SCHEMA billing;
CREATE EXTENSION idempotency SCHEMA billing;

-- The users' role must not call them: it could name any scope. Default privileges may have given it the right.
SELECT billing.idem_revoke('authenticated');
SELECT billing.idem_revoke('anon');

-- This role may. It owns the functions that users call, and all keys belong to it.
CREATE ROLE payments;
SELECT billing.idem_grant('payments');
ALTER DEFAULT PRIVILEGES FOR ROLE payments REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
CREATE SCHEMA payments AUTHORIZATION payments;
CREATE SCHEMA api AUTHORIZATION payments;

-- PT422 instead of ID422: PostgREST answers with HTTP status 422. A function below that forgets the scope is an error.
ALTER ROLE authenticator SET idempotency.error_class = 'PT';
ALTER ROLE authenticator SET idempotency.require_scope = on;

SET ROLE payments;

-- The scope of the user whom the JWT names.
CREATE FUNCTION payments.scope() RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	sub text := nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub';
BEGIN
	IF sub IS NULL OR sub = '' THEN
		RAISE SQLSTATE 'PT401' USING MESSAGE = 'not logged in', DETAIL = 'The request has no JWT with the claim "sub".';
	END IF;
	RETURN 'user:' || sub;
END
$$;

-- The key of the request: its header Idempotency-Key.
CREATE FUNCTION payments.key() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT nullif(current_setting('request.headers', true), '')::json ->> 'idempotency-key'
$$;

-- POST /rpc/pay. A currency that was lost on its way is an error, and not the one of the setting.
CREATE FUNCTION api.pay(amount numeric, currency text, reference text DEFAULT NULL, metadata jsonb DEFAULT NULL)
RETURNS billing.idem_receipt
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT billing.idem_pay(payments.key(), amount, coalesce(currency, ''), reference => reference, metadata => metadata,
		scope => payments.scope())
$$;

-- POST /rpc/refund
CREATE FUNCTION api.refund(payment_id uuid, amount numeric)
RETURNS billing.idem_receipt
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT billing.idem_refund(payments.key(), payment_id, amount, scope => payments.scope())
$$;

-- POST /rpc/cancel: of the request whose key is in the argument
CREATE FUNCTION api.cancel(key text)
RETURNS billing.idem_receipt
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT billing.idem_cancel(key, payments.scope())
$$;

-- GET /rpc/receipt?key=...
CREATE FUNCTION api.receipt(key text)
RETURNS SETOF billing.idem_receipt
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT * FROM billing.idem_lookup(key, payments.scope())
$$;

-- GET /rpc/payment?payment_id=...
CREATE FUNCTION api.payment(payment_id uuid)
RETURNS billing.idem_receipt
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT billing.idem_payment(payment_id, payments.scope())
$$;

GRANT USAGE ON SCHEMA api TO authenticated;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA api TO authenticated;

RESET ROLE;

NOTIFY pgrst, 'reload schema';
