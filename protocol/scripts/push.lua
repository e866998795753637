-- Pushes background jobs that have an id, each once, however often it is asked to.
--
-- KEYS[1]   where they go: a lane, or later
-- KEYS[2…]  the record of each job
-- ARGV[1]   how many jobs may lie there; '' = any number
-- ARGV[2]   how long a record lives after the job is due, in ms
-- ARGV[3]   when they are pushed, in ms of Redis time
-- ARGV[4]   the word of their lane
-- ARGV[5…]  of each job: its action, when it is due in ms of Redis time ('' = now), the job
-- RETURN    how many lie there now; then of each job 1 pushed, 0 known already, -1 no room
local function length()
  if ARGV[6] == '' then return redis.call('LLEN', KEYS[1]) end
  return redis.call('ZCARD', KEYS[1])
end
local room = math.huge
if ARGV[1] ~= '' then room = tonumber(ARGV[1]) - length() end
local results, put, scored, seen = {}, {}, {}, {}
for i = 2, #KEYS do
  local at = 5 + (i - 2) * 3
  if seen[KEYS[i]] or redis.call('EXISTS', KEYS[i]) == 1 then
    results[i] = 0
  elseif #put >= room then
    results[i] = -1
  else
    results[i] = 1
    seen[KEYS[i]] = true
    put[#put + 1] = ARGV[at + 2]
    scored[#scored + 1] = ARGV[at + 1]
    scored[#scored + 1] = ARGV[at + 2]
  end
end
if #put > 0 and ARGV[6] == '' then
  redis.call('RPUSH', KEYS[1], unpack(put))
elseif #put > 0 then
  redis.call('ZADD', KEYS[1], unpack(scored))
end
for i = 2, #KEYS do
  if results[i] == 1 then
    local at = 5 + (i - 2) * 3
    if ARGV[at + 1] == '' then
      redis.call('HSET', KEYS[i], 'state', 'waiting', 'action', ARGV[at], 'lane', ARGV[4], 'queued_at', ARGV[3])
    else
      redis.call('HSET', KEYS[i], 'state', 'later', 'action', ARGV[at], 'lane', ARGV[4], 'queued_at', ARGV[3],
        'due', ARGV[at + 1])
    end
    redis.call('PEXPIRE', KEYS[i], ARGV[2] + math.max(0, (tonumber(ARGV[at + 1]) or 0) - ARGV[3]))
  end
end
results[1] = length()
return results
