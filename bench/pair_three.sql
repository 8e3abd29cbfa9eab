-- As pair.sql, with three statements by turns: ours, the bare one, and another one. It stores two pairs with the same blocks of
-- ours. Variables besides: another, the title of the second pair.
\if :i >= 0 and :i % 50 = 0
\if :i % 150 = 50
SELECT cpu AS cpu1, clock AS clock1 FROM meter \gset
\elif :i % 150 = 100
SELECT cpu AS cpu2, clock AS clock2 FROM meter \gset
\else
\if :i > 0
SELECT cpu AS cpu3, clock AS clock3 FROM meter \gset
INSERT INTO measured VALUES (:pair, :round, 50, :cpu1::bigint - :cpu0::bigint, :cpu2::bigint - :cpu1::bigint,
	:clock1::timestamptz - :clock0::timestamptz, :clock2::timestamptz - :clock1::timestamptz),
	(:another, :round, 50, :cpu1::bigint - :cpu0::bigint, :cpu3::bigint - :cpu2::bigint,
	:clock1::timestamptz - :clock0::timestamptz, :clock3::timestamptz - :clock2::timestamptz);
\endif
SELECT cpu AS cpu0, clock AS clock0 FROM meter \gset
\endif
\endif
\if (:i >= 0 and :i % 150 < 50) or (:i < 0 and :i % 3 = 0)
@OURS@
\elif (:i >= 0 and :i % 150 < 100) or (:i < 0 and :i % 3 = -1)
@BARE@
\else
@ANOTHER@
\endif
\set i :i + 1
