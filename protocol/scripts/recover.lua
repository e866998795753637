-- Takes one job away from a worker that is gone and puts it where it belongs, or nowhere. Never looks into it.
--
-- KEYS[1]   run list the job lies in
-- KEYS[2]   lane it returns to
-- KEYS[3]   lease of the worker
-- KEYS[4]   dead
-- KEYS[5]   record of the job; KEYS[1] again if it has none
-- KEYS[6]   its unique key; KEYS[1] again if nothing is to be let go
-- ARGV[1]   '1': the worker is known to be gone; else the lease is looked at once more
-- ARGV[2]   the job as it lies in the run list
-- ARGV[3]   the job as it returns to the head of its lane; '' = it does not
-- ARGV[4]   what is kept of it in dead; '' = nothing
-- ARGV[5]   when it died, in ms of Redis time
-- ARGV[6]   how long its record lives from now, in ms; '0' = it is removed, '' = it has none
-- ARGV[7]   its id if it lets KEYS[6] go; '' = it does not
-- ARGV[8…]  fields of the record and their values
-- RETURN    1 done, 0 somebody else was quicker, -1 the worker lives
if ARGV[1] ~= '1' and redis.call('EXISTS', KEYS[3]) == 1 then return -1 end
if redis.call('LREM', KEYS[1], 1, ARGV[2]) == 0 then return 0 end
local put = 1
if ARGV[3] ~= '' then
  put = redis.pcall('LPUSH', KEYS[2], ARGV[3])
elseif ARGV[4] ~= '' then
  put = redis.pcall('ZADD', KEYS[4], ARGV[5], ARGV[4])
end
if type(put) == 'table' and put.err then
  redis.call('LPUSH', KEYS[1], ARGV[2])
  return put
end
if ARGV[6] == '0' then
  redis.call('UNLINK', KEYS[5])
elseif ARGV[6] ~= '' then
  redis.call('HDEL', KEYS[5], 'worker', 'since')
  redis.call('HSET', KEYS[5], unpack(ARGV, 8))
  redis.call('PEXPIRE', KEYS[5], ARGV[6])
end
if ARGV[7] ~= '' and redis.call('GET', KEYS[6]) == ARGV[7] then redis.call('DEL', KEYS[6]) end
return 1
