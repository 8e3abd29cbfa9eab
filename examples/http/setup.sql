-- The application's role and its tables. Run by a superuser.

CREATE EXTENSION idempotency;

-- The role can call the functions, and has a schema of its own. It has no rights on the extension's tables.
CREATE ROLE shop LOGIN;
SELECT idem_grant('shop');
CREATE SCHEMA AUTHORIZATION shop;

SET ROLE shop;

CREATE TABLE shop.points (
	payment_id		uuid PRIMARY KEY,
	points			integer NOT NULL CHECK (points >= 0)
);

CREATE TABLE shop.parcel (
	parcel_id		bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	payment_id		uuid NOT NULL,
	address			text NOT NULL,
	sent_at			timestamptz NOT NULL DEFAULT now()
);

-- No parcels are sent while this table has a row.
CREATE TABLE shop.closed (since timestamptz NOT NULL DEFAULT now());

RESET ROLE;
