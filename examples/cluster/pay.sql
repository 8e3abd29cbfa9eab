-- A client of pgbench: it sends a payment until it is answered, and then the next one.
-- Variables: answered, whether the last payment is; number, of the payment.
\if :answered
\set number :number + 1
\set amount random(1, 10000)
\endif
SELECT answered FROM client.pay(:client_id, :number, :amount * 0.01) \gset
\sleep 10 ms
