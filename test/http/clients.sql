-- The role of the services that test the packages in clients/, and its table. Run by a superuser.

CREATE EXTENSION idempotency;
CREATE ROLE shop LOGIN;
SELECT idem_grant('shop');
CREATE SCHEMA AUTHORIZATION shop;

SET ROLE shop;
CREATE TABLE shop.hit (what text NOT NULL);

-- Fails at COMMIT, for a number of times, with an SQLSTATE: 'commit 40001 3'.
CREATE SEQUENCE shop.try;
CREATE FUNCTION shop.fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF nextval('shop.try') <= split_part(NEW.what, ' ', 3)::int THEN
		RAISE 'a failure' USING ERRCODE = split_part(NEW.what, ' ', 2);
	END IF;
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON shop.hit DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW WHEN (NEW.what LIKE 'commit %') EXECUTE FUNCTION shop.fail();
RESET ROLE;
