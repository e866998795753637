-- Claims jobs of a queue that has limits, as far as these allow.
--
-- KEYS[1]   lane
-- KEYS[2]   limits of the queue
-- KEYS[3]   running: which slots were given a job under these limits; those whose run list is empty are free again.
--           Who asks gives its place up by that; the places of others are swept when all are taken
-- KEYS[4]   rate: until when what was started uses up the rate, in µs of Redis time; a tenth of the rate may go at once
-- KEYS[5]   swept: somebody was told to sweep just now
-- KEYS[6…]  run lists of slots that are free
-- ARGV      the names of these slots: what follows `run:`
-- RETURN    0 and the jobs, in the order of the run lists; or no job and why: how long to wait for the rate in ms,
--           -1 the queue is paused, -2 as many run as may, -3 the same, and whoever asks sweeps: one each 100 ms
local limit = redis.call('HMGET', KEYS[2], 'paused', 'concurrency', 'rate', 'per')
if limit[1] == '1' then return { -1 } end
local function number(text)
  local value = tonumber(text)
  return value and value >= 1 and value or nil
end
local concurrency, rate, per = number(limit[2]), number(limit[3]), number(limit[4]) or 1000
local room = #ARGV
if concurrency then
  local taken = redis.call('SCARD', KEYS[3])
  if concurrency - taken < room then
    local own = redis.call('SMISMEMBER', KEYS[3], unpack(ARGV))
    for i, slot in ipairs(ARGV) do
      if own[i] == 1 and redis.call('LLEN', KEYS[5 + i]) == 0 then taken = taken - redis.call('SREM', KEYS[3], slot) end
    end
  end
  room = math.min(room, concurrency - taken)
  if room <= 0 then return { redis.call('SET', KEYS[5], 1, 'NX', 'PX', 100) and -3 or -2 } end
end
local every, used = 0, 0
if rate then
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  every = per * 1000 / rate
  local at_once = math.ceil(rate / 10)
  used = math.max(tonumber(redis.call('GET', KEYS[4])) or 0, now - every * (at_once - 1))
  if used > now + per * 1000 then used = now end
  if used > now then return { math.ceil((used - now) / 1000) } end
  room = math.min(room, math.floor((now - used) / every) + 1)
end
local taken = { 0 }
for i = 1, room do
  local job = redis.call('LMOVE', KEYS[1], KEYS[5 + i], 'LEFT', 'RIGHT')
  if not job then break end
  taken[#taken + 1] = job
  if concurrency then redis.call('SADD', KEYS[3], ARGV[i]) end
end
if rate and #taken > 1 then
  redis.call('SET', KEYS[4], string.format('%.0f', used + every * (#taken - 1)), 'PX', math.ceil(per) + 1000)
end
return taken
