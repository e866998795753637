-- Pushes one background job, unless another one holds its unique key.
--
-- KEYS[1]   where it goes: a lane, or later
-- KEYS[2]   its record
-- KEYS[3]   its unique key
-- KEYS[4]   the record of a holder that may be gone; KEYS[2] again if there is none
-- ARGV[1]   how many jobs may lie there; '' = any number
-- ARGV[2]   how long a record lives after the job is due, in ms
-- ARGV[3]   when it is pushed, in ms of Redis time
-- ARGV[4]   the word of its lane
-- ARGV[5]   its action
-- ARGV[6]   when it is due in ms of Redis time; '' = now
-- ARGV[7]   the job
-- ARGV[8]   what it writes into the unique key: its id, behind '!' if it holds the key for a time
-- ARGV[9]   how long it may hold the key, in ms; after it is due, unless it holds it for a time
-- ARGV[10]  the holder that may be gone; '' = none is meant
-- RETURN    how many lie there now, and 1 pushed, 0 known already, -1 no room; or what another one wrote into the key
local holder = redis.call('GET', KEYS[3])
local length = ARGV[6] == '' and 'LLEN' or 'ZCARD'
local depth = redis.call(length, KEYS[1])
-- It was pushed before: it may have let its key go since, to another one, or have ended and hold it for its time.
local id = ARGV[8]:gsub('^!', '')
if redis.call('EXISTS', KEYS[2]) == 1 or holder == '!' .. id then return { depth, 0 } end
if holder and holder ~= id then
  if holder ~= ARGV[10] or redis.call('EXISTS', KEYS[4]) == 1 then return holder end
end
if ARGV[1] ~= '' and depth >= tonumber(ARGV[1]) then return { depth, -1 } end
if ARGV[6] == '' then
  redis.call('RPUSH', KEYS[1], ARGV[7])
  redis.call('HSET', KEYS[2], 'state', 'waiting', 'action', ARGV[5], 'lane', ARGV[4], 'queued_at', ARGV[3])
else
  redis.call('ZADD', KEYS[1], ARGV[6], ARGV[7])
  redis.call('HSET', KEYS[2], 'state', 'later', 'action', ARGV[5], 'lane', ARGV[4], 'queued_at', ARGV[3], 'due', ARGV[6])
end
local delay = math.max(0, (tonumber(ARGV[6]) or 0) - ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[2] + delay)
if ARGV[8]:sub(1, 1) == '!' then delay = 0 end
redis.call('SET', KEYS[3], ARGV[8], 'PX', ARGV[9] + delay)
return { depth + 1, 1 }
