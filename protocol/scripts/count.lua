-- Counts a job of a group as done.
--
-- KEYS[1]   the group
-- KEYS[2]   the ids of its jobs that are not done
-- KEYS[3]   its results
-- ARGV[1]   the id of the job
-- ARGV[2]   its result, in JSON
-- ARGV[3]   how many bytes the results of the group may have together
-- RETURN    how many are not done; -1 there is no such group, or it is complete; -2 the result does not fit, and the job is
--           not counted
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then
  local bytes = (tonumber(redis.call('HGET', KEYS[1], 'bytes')) or 0) + #ARGV[2]
  if bytes > tonumber(ARGV[3]) then return -2 end
  redis.call('SREM', KEYS[2], ARGV[1])
  redis.call('HSET', KEYS[1], 'bytes', bytes)
  redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
  redis.call('PEXPIRE', KEYS[3], math.max(redis.call('PTTL', KEYS[1]), 1))
end
return redis.call('SCARD', KEYS[2])
