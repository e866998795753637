-- Writes or removes a schedule. Of several rivals one does it; the others read it again.
--
-- KEYS[1]   schedules
-- KEYS[2]   due
-- KEYS[3]   fired
-- ARGV[1]   the name of the schedule
-- ARGV[2]   the schedule as it was read; '' = there was none
-- ARGV[3]   the schedule as it is from now on; '' = it is removed
-- ARGV[4]   when it is due next, in ms of Redis time; '' = never, it is paused
-- ARGV[5]   '1' = a time at which it is due already stays
-- RETURN    1 done, 0 it has changed since it was read
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[3], ARGV[1])
  return 1
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
if ARGV[4] == '' then
  redis.call('ZREM', KEYS[2], ARGV[1])
elseif ARGV[5] == '1' then
  redis.call('ZADD', KEYS[2], 'NX', ARGV[4], ARGV[1])
else
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
end
return 1
