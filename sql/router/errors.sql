------------------------------------------------------------------------------
-- Errors
------------------------------------------------------------------------------

-- PL/Proxy raises the error of a partition with its SQLSTATE, and with names before its message, DETAIL and HINT. We take
-- them away: a client must not see the difference. PL/Proxy's own errors are internal ones (XX000), also that a connection
-- is lost. Nobody would try again then, so we raise those with the SQLSTATEs of lost connections. One of them looks like an
-- error of the partition: libpq does not understand the answer. Its severity and its message are "(null)".
--
-- An error in a partition also costs its connection: PL/Proxy makes another one at the next call.
CREATE FUNCTION idempotency_router.raise(state text, message text, detail text, hint text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	remote constant text[] := regexp_match(message, '^\S+\(\d+\): \[([^]]*)\] REMOTE (\S+): (.*)$');
	own constant text[] := regexp_match(message, '^PL/Proxy function \S+\(\d+\): (?:\[([^]]*)\] )?(.*)$');
BEGIN
	IF state = 'XX000' AND remote[2] = '(null)' THEN
		state := '08006';
		message := format('lost the answer of partition "%s"', remote[1]);
		detail := 'The partition sent something that is no answer.';
		hint := 'The call may have been carried out. Send the same call again, with the same key.';
	ELSIF remote IS NOT NULL THEN
		message := remote[3];
		detail := regexp_replace(detail, '^Remote detail: ', '');
		hint := regexp_replace(hint, '^Remote hint: ', '');
	ELSIF state = 'XX000' AND own[2] ~ '^(PQconnect|connect timeout)' THEN
		state := '08001';
		message := format('could not connect to partition "%s"', coalesce(own[1], ''));
		detail := own[2];
		hint := 'Send the same call again, with the same key.';
	ELSIF state = 'XX000' AND own[2] ~ '^(PQ|query timeout)' THEN
		state := '08006';
		message := format('lost the answer of partition "%s"', coalesce(own[1], ''));
		detail := own[2];
		hint := 'The call may have been carried out. Send the same call again, with the same key.';
	END IF;

	-- An option of RAISE must not be null, and an empty one would be sent.
	IF detail <> '' AND hint <> '' THEN
		RAISE EXCEPTION '%', message USING ERRCODE = state, DETAIL = detail, HINT = hint;
	ELSIF detail <> '' THEN
		RAISE EXCEPTION '%', message USING ERRCODE = state, DETAIL = detail;
	ELSIF hint <> '' THEN
		RAISE EXCEPTION '%', message USING ERRCODE = state, HINT = hint;
	END IF;
	RAISE EXCEPTION '%', message USING ERRCODE = state;
END
$$;
COMMENT ON FUNCTION idempotency_router.raise(text, text, text, text) IS
	'raises an error of PL/Proxy as the partition raised it';

