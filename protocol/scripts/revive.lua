-- Moves a job out of dead or later to the end of its lane at once. Of several rivals one moves it.
--
-- KEYS[1]   dead or later
-- KEYS[2]   lane
-- KEYS[3]   the record of the job; KEYS[1] again if it has none
-- KEYS[4]   its result; KEYS[1] again if it has none
-- ARGV[1]   the entry
-- ARGV[2]   the job
-- ARGV[3]   how long its record lives from now, in ms
-- ARGV[4…]  fields of the record and their values
-- RETURN    1 moved, 0 it was not there
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
local put = redis.pcall('RPUSH', KEYS[2], ARGV[2])
if type(put) == 'table' and put.err then
  redis.call('ZADD', KEYS[1], score, ARGV[1])
  return put
end
if KEYS[3] ~= KEYS[1] then
  redis.call('UNLINK', KEYS[4])
  redis.call('HDEL', KEYS[3], 'due', 'died_at', 'code', 'message', 'attempt', 'progress', 'work_us')
  redis.call('HSET', KEYS[3], 'state', 'waiting', unpack(ARGV, 4))
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
end
return 1
