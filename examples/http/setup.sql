-- The application's side: its role and its tables. Run by a superuser.

CREATE EXTENSION idempotency;

-- It can call the functions and has a schema of its own. The extension's tables it cannot touch.
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

-- no parcels are sent while there is a row
CREATE TABLE shop.closed (since timestamptz NOT NULL DEFAULT now());

RESET ROLE;
