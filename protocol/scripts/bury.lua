-- Moves an entry of later that is no job to dead. Of several rivals one moves it.
--
-- KEYS[1]  later
-- KEYS[2]  dead
-- ARGV[1]  the entry in later
-- ARGV[2]  what is kept of it in dead
-- ARGV[3]  when it died, in ms of Redis time
-- RETURN   1 moved, 0 somebody else was quicker
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not due then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
local put = redis.pcall('ZADD', KEYS[2], ARGV[3], ARGV[2])
if type(put) == 'table' and put.err then
  redis.call('ZADD', KEYS[1], due, ARGV[1])
  return put
end
return 1
