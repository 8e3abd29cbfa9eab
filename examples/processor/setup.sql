-- The shop's role and its tables. Run by a superuser.

CREATE EXTENSION idempotency;

-- The role can call the functions, and release the holds that have expired.
CREATE ROLE shop LOGIN;
SELECT idem_grant('shop');
SELECT idem_grant('shop', 'maintenance');
CREATE SCHEMA AUTHORIZATION shop;

-- An abandoned request is remembered for that long. It must outlast each outage of the processor or of the worker.
ALTER ROLE shop SET idempotency.retention = '30d';

SET ROLE shop;

-- The order's id is the key of its hold and of its request, and is part of the key for the processor.
CREATE TABLE shop.orders (
	order_id		text PRIMARY KEY,
	amount			numeric NOT NULL,
	currency		text NOT NULL,
	card			text NOT NULL,
	payment_id		uuid NOT NULL UNIQUE,
	-- placed: the card was not charged; charging: it may have been. The others are final.
	state			text NOT NULL DEFAULT 'placed'
		CHECK (state IN ('placed', 'charging', 'paid', 'declined', 'expired')),
	charge			text UNIQUE		-- the processor's id
);
CREATE INDEX ON shop.orders (state) WHERE state IN ('placed', 'charging');

-- The outbox. The refund's id is the key of idem_refund, and the key for the processor.
CREATE TABLE shop.refunds (
	refund_id		text PRIMARY KEY,
	order_id		text NOT NULL REFERENCES shop.orders,
	amount			numeric NOT NULL,
	-- asked: the worker sends it; done: the processor has it; failed: the money came back, also days later
	state			text NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'done', 'failed')),
	tries			integer NOT NULL DEFAULT 0,
	due_at			timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON shop.refunds (due_at) WHERE state = 'asked';

-- The last event of the processor that we have dealt with.
CREATE TABLE shop.processor_event (seen bigint NOT NULL);
INSERT INTO shop.processor_event VALUES (0);

RESET ROLE;
