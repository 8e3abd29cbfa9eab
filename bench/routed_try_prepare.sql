-- For routed_try.sql: pays, and returns the SQLSTATE if the key was used for another payment.
CREATE FUNCTION try_to_pay(key text, amount numeric, scope text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM idem_pay(key, amount, scope => scope);
	RETURN NULL;
EXCEPTION WHEN SQLSTATE 'ID422' THEN
	RETURN SQLSTATE;
END
$$;
