-- The processor time that this backend has used, in nanoseconds, as Linux reports it; and the time.
CREATE VIEW meter AS
SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::bigint AS cpu, clock_timestamp() AS clock;
-- The processor time and the elapsed time of two blocks of statements: ours, and the bare ones.
CREATE UNLOGGED TABLE measured (
	pair text, round integer, statements integer, ours_cpu bigint, bare_cpu bigint, ours_elapsed interval, bare_elapsed interval);
