-- The shop: its orders, and its payments without keys. Run by a superuser.

CREATE EXTENSION idempotency;

-- The shop's role can call the functions, and has a schema of its own. It has no rights on the extension's tables.
SELECT idem_grant('shop');
CREATE SCHEMA AUTHORIZATION shop;

SET ROLE shop;

CREATE TABLE orders (
	order_id		text PRIMARY KEY,
	customer		text NOT NULL,
	amount			numeric NOT NULL,
	currency		text NOT NULL,
	description		text NOT NULL
);
\copy orders FROM 'orders.csv' (FORMAT csv, HEADER, ENCODING 'UTF8')

-- Payments without keys, for comparison.
CREATE TABLE plain_payment (
	payment_id		uuid DEFAULT gen_random_uuid() PRIMARY KEY,
	order_id		text NOT NULL,
	amount			numeric NOT NULL,
	currency		text NOT NULL,
	reference		text
);

-- What the clients saw: one row for each payment that was sent.
CREATE TABLE sent (
	way				text NOT NULL,		-- idem_pay, or plain for plain_payment
	delivery		integer NOT NULL,
	order_id		text NOT NULL,
	again			boolean NOT NULL,	-- sent again after the first connection was lost
	connection		integer NOT NULL,
	lost			text,				-- the connection was lost before or after COMMIT was sent
	payment_id		uuid NOT NULL,
	replayed		boolean NOT NULL,
	from_time		double precision NOT NULL,
	to_time			double precision NOT NULL
);

RESET ROLE;
