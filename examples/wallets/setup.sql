-- A shop whose customers pay from wallets: what is due, and the same by hand. Run by a superuser.

CREATE EXTENSION idempotency;

-- The shop's role can call the functions, and has a schema of its own. It has no rights on the extension's tables.
SELECT idem_grant('shop');
CREATE SCHEMA AUTHORIZATION shop;

SET ROLE shop;

-- What the accounts must have in the end, and what must be done for that, once each. It is worked out from the orders.
CREATE TABLE due_account (
	account			text PRIMARY KEY,
	kind			text NOT NULL,		-- wallet, shop, or world, where the customers' money comes from
	currency		text NOT NULL,
	amount			numeric NOT NULL
);
CREATE TABLE due_operation (
	key				text PRIMARY KEY,
	kind			text NOT NULL,		-- top-up, pay, authorize, capture or refund
	amount			numeric NOT NULL
);

-- The usual way, by hand: balances that are updated in place, and a list of what was done. There are no keys.
CREATE TABLE hand_account (
	account			text PRIMARY KEY,
	balance			numeric NOT NULL DEFAULT 0,
	held			numeric NOT NULL DEFAULT 0
);
CREATE TABLE hand_entry (
	key				text NOT NULL,
	kind			text NOT NULL,
	amount			numeric NOT NULL
);

-- What the clients saw: one row for each call that was sent. The outcome is done or declined; or there was no answer, as
-- the connection was lost before or after COMMIT was sent, or in the crash.
CREATE TABLE sent (
	id				bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	way				text NOT NULL,		-- idem_pay, or hand for by hand
	delivery		integer NOT NULL,
	round			integer NOT NULL,	-- 2: what was declined is tried again
	connection		integer NOT NULL,
	key				text NOT NULL,
	again			boolean NOT NULL,	-- sent again, as there was no answer
	outcome			text NOT NULL,		-- done, declined, before, after or crash
	detail			text,				-- of what was declined
	payment_id		uuid,
	replayed		boolean NOT NULL
);

RESET ROLE;
