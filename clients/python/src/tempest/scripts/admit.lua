-- Lets a claimed job run if no more of its key run than may, else sets it aside.
--
-- KEYS[1]   run list the job lies in
-- KEYS[2]   who runs jobs of this key
-- KEYS[3]   jobs of this key that are set aside
-- KEYS[4]   the keys of the queue that have jobs set aside
-- KEYS[5]   limits of the queue
-- KEYS[6]   its record; KEYS[1] again if it has none
-- KEYS[7…]  run lists of the slots that were found in KEYS[2]
-- ARGV[1]   the name of the slot: what follows `run:`
-- ARGV[2]   the job as it lies in the run list
-- ARGV[3]   its key
-- ARGV[4]   how long a record lives, in ms
-- ARGV[5…]  the names of the slots that were found in KEYS[2]
-- RETURN    1 it may run, 0 it was set aside, -1 it was taken away
if not redis.call('LPOS', KEYS[1], ARGV[2]) then return -1 end
for i = 5, #ARGV do
  if ARGV[i] ~= ARGV[1] and redis.call('LLEN', KEYS[2 + i]) == 0 then redis.call('SREM', KEYS[2], ARGV[i]) end
end
local limit = math.max(1, tonumber(redis.call('HGET', KEYS[5], 'per_key')) or 1)
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 or redis.call('SCARD', KEYS[2]) < limit then
  redis.call('SADD', KEYS[2], ARGV[1])
  return 1
end
redis.call('RPUSH', KEYS[3], ARGV[2])
redis.call('SADD', KEYS[4], ARGV[3])
redis.call('LREM', KEYS[1], 1, ARGV[2])
if KEYS[6] ~= KEYS[1] and redis.call('EXISTS', KEYS[6]) == 1 then
  redis.call('HSET', KEYS[6], 'state', 'waiting', 'key', ARGV[3])
  redis.call('PEXPIRE', KEYS[6], ARGV[4])
end
return 0
