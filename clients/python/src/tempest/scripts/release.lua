-- A slot runs a job of this key no more: returns one that was set aside to the head of its lane.
--
-- KEYS[1]   who runs jobs of this key
-- KEYS[2]   jobs of this key that are set aside
-- KEYS[3]   the keys of the queue that have jobs set aside
-- KEYS[4]   lane of the job that was seen first in KEYS[2]
-- KEYS[5]   limits of the queue
-- ARGV[1]   the name of the slot: what follows `run:`; '' = none ends
-- ARGV[2]   the job that was seen first in KEYS[2]; '' = none was
-- ARGV[3]   the key
-- RETURN    1 returned, 0 not
if ARGV[1] ~= '' then redis.call('SREM', KEYS[1], ARGV[1]) end
if ARGV[2] == '' or redis.call('LINDEX', KEYS[2], 0) ~= ARGV[2] then return 0 end
local limit = math.max(1, tonumber(redis.call('HGET', KEYS[5], 'per_key')) or 1)
if redis.call('SCARD', KEYS[1]) >= limit then return 0 end
redis.call('LMOVE', KEYS[2], KEYS[4], 'LEFT', 'LEFT')
if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('SREM', KEYS[3], ARGV[3]) end
return 1
