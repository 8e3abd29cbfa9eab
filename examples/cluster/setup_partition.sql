-- A partition: a database with the extension, and the role that pays.
CREATE EXTENSION idempotency;
SELECT idem_grant('shop');
