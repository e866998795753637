-- Moves jobs that are due from later to the end of their lane. Of several rivals one moves each job.
--
-- KEYS[1]  later
-- KEYS[2]  lane
-- ARGV     the jobs
-- RETURN   how many were moved
local moved = 0
for _, job in ipairs(ARGV) do
  local due = redis.call('ZSCORE', KEYS[1], job)
  if due then
    redis.call('ZREM', KEYS[1], job)
    local put = redis.pcall('RPUSH', KEYS[2], job)
    if type(put) == 'table' and put.err then
      redis.call('ZADD', KEYS[1], due, job)
      return put
    end
    moved = moved + 1
  end
end
return moved
