-- Fires a schedule: pushes its job and says when the next one is due. Of several rivals one does it.
--
-- KEYS[1]   schedules
-- KEYS[2]   due
-- KEYS[3]   lane
-- KEYS[4]   the record of the job
-- ARGV[1]   the name of the schedule
-- ARGV[2]   the schedule as it was read
-- ARGV[3]   when it was due, in ms of Redis time
-- ARGV[4]   when it is due next; '' = never again
-- ARGV[5]   the job; '' = this firing is left out
-- ARGV[6]   how long the record lives, in ms
-- ARGV[7…]  fields of the record and their values
-- RETURN    1 fired, 0 somebody else was quicker or the schedule has changed
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
local due = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not due or tonumber(due) ~= tonumber(ARGV[3]) then return 0 end
if ARGV[5] ~= '' then
  redis.call('RPUSH', KEYS[3], ARGV[5])
  redis.call('HSET', KEYS[4], 'state', 'waiting', unpack(ARGV, 7))
  redis.call('PEXPIRE', KEYS[4], ARGV[6])
end
if ARGV[4] == '' then
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
end
return 1
