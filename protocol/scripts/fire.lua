-- Fires a schedule: pushes its job and says when the next one is due. Of several rivals one does it.
--
-- KEYS[1]   schedules
-- KEYS[2]   due
-- KEYS[3]   lane
-- KEYS[4]   the record of the job
-- KEYS[5]   fired
-- ARGV[1]   the name of the schedule
-- ARGV[2]   the schedule as it was read
-- ARGV[3]   when it was due, in ms of Redis time
-- ARGV[4]   when it is due next; '' = never again
-- ARGV[5]   the job; '' = this firing is left out
-- ARGV[6]   how long the record lives, in ms
-- ARGV[7]   how many jobs may lie in the lane
-- ARGV[8…]  what fired says of this firing; then fields of the record and their values
-- RETURN    1 fired, 2 left out because the lane is full, 0 somebody else was quicker or the schedule has changed
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
local due = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not due or tonumber(due) ~= tonumber(ARGV[3]) then return 0 end
local done = 1
if ARGV[5] ~= '' then
  if redis.call('LLEN', KEYS[3]) >= tonumber(ARGV[7]) then
    done = 2
    redis.call('HSET', KEYS[5], ARGV[1], ARGV[8] .. ' queue_full')
  else
    redis.call('RPUSH', KEYS[3], ARGV[5])
    redis.call('HSET', KEYS[4], 'state', 'waiting', unpack(ARGV, 9))
    redis.call('PEXPIRE', KEYS[4], ARGV[6])
    redis.call('HSET', KEYS[5], ARGV[1], ARGV[8])
  end
end
if ARGV[4] == '' then
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
end
return done
