-- Gives an orphan an end: a record of ours without a TTL, as another program may leave it behind. Not on the request
-- path; the sweeper calls it for each orphan that it met.
--
-- KEYS[1]  the record
-- ARGV[1]  its first bytes, as the sweeper read them
-- ARGV[2]  TTL that it gets, ms
--
-- Reply: 1 it has a TTL now, 0 it was left as it is
--
-- Why it is safe. The sweeper knew the record by those bytes. If it has a TTL by now, or begins otherwise, or is of
-- another type, then somebody wrote it since, and it is not this orphan. The value never changes.

if redis.call('PTTL', KEYS[1]) ~= -1 then return 0 end
if redis.pcall('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
