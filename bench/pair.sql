-- A client of a pair: 50 statements of ours, 50 bare ones, and so on. bench/pair replaces the lines @OURS@ and @BARE@ by the
-- two statements. Variables: i, the number of the statement, below 0 while nothing is measured yet; pair and round, for the
-- table.
\if :i >= 0 and :i % 50 = 0
\if :i % 100 = 50
SELECT cpu AS cpu1, clock AS clock1 FROM meter \gset
\else
\if :i > 0
SELECT cpu AS cpu2, clock AS clock2 FROM meter \gset
INSERT INTO measured VALUES (:pair, :round, 50, :cpu1::bigint - :cpu0::bigint, :cpu2::bigint - :cpu1::bigint,
	:clock1::timestamptz - :clock0::timestamptz, :clock2::timestamptz - :clock1::timestamptz);
\endif
SELECT cpu AS cpu0, clock AS clock0 FROM meter \gset
\endif
\endif
\if (:i >= 0 and :i % 100 < 50) or (:i < 0 and :i % 2 = 0)
@OURS@
\else
@BARE@
\endif
\set i :i + 1
