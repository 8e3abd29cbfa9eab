-- What the backend that looks here has used of a processor, in nanoseconds (Linux says so), and the time.
CREATE VIEW meter AS
SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::bigint AS cpu, clock_timestamp() AS clock;
-- What a block of statements took, of ours and of the bare ones.
CREATE UNLOGGED TABLE measured (
	pair text, round integer, statements integer, ours_cpu bigint, bare_cpu bigint, ours_elapsed interval, bare_elapsed interval);
