title What a call costs, next to a bare statement and to a function in PL/pgSQL
unit us processor : µs of processor time; shorter is better
bench run
group A new payment
bar blue : idem_pay | new payment, by turns with PL/pgSQL / bare | ours
bar quiet : INSERT | new payment, by turns with PL/pgSQL / bare | bare
bar amber : by hand in PL/pgSQL | new payment, by turns with PL/pgSQL / by hand | bare
group A repeat
bar blue : idem_pay | replay, by turns with PL/pgSQL / bare | ours
bar quiet : SELECT by key | replay, by turns with PL/pgSQL / bare | bare
bar amber : by hand in PL/pgSQL | replay, by turns with PL/pgSQL / by hand | bare
group A payment in a batch of 8,192, random keys
bar blue : idem_pay_batch | batch, random, into 100,000 / INSERT ON CONFLICT | ours
bar quiet : INSERT ON CONFLICT | batch, random, into 100,000 / INSERT ON CONFLICT | bare
bar quiet : COPY | batch, random, into 100,000 / COPY | bare
