-- Moves jobs that are due from later to the end of their lane. Of several rivals one moves each job.
--
-- KEYS[1]   later
-- KEYS[2]   lane
-- KEYS[3…]  the record of each job; KEYS[1] again if it has none
-- ARGV      the jobs
-- RETURN    how many were moved
local moved = 0
for i, job in ipairs(ARGV) do
  local due = redis.call('ZSCORE', KEYS[1], job)
  if due then
    redis.call('ZREM', KEYS[1], job)
    local put = redis.pcall('RPUSH', KEYS[2], job)
    if type(put) == 'table' and put.err then
      redis.call('ZADD', KEYS[1], due, job)
      return put
    end
    local record = KEYS[2 + i]
    if record ~= KEYS[1] and redis.call('EXISTS', record) == 1 then redis.call('HSET', record, 'state', 'waiting') end
    moved = moved + 1
  end
end
return moved
