-- Ends a claimed background job that has an id: done, put off, or given up, all of it or nothing.
--
-- KEYS[1]   run list the job lies in
-- KEYS[2]   its record
-- KEYS[3]   its log
-- KEYS[4]   its result
-- KEYS[5]   later or dead; KEYS[2] again if it goes to neither
-- KEYS[6]   its unique key; KEYS[2] again if nothing is to be let go
-- ARGV[1]   the job as it lies in the run list
-- ARGV[2]   what goes to KEYS[5]; '' = nothing
-- ARGV[3]   its score
-- ARGV[4]   the reply that is kept as its result; '' = none
-- ARGV[5]   how long record, log and result live from now, in ms; '0' = they are removed
-- ARGV[6]   its id if it lets KEYS[6] go; '' = it does not
-- ARGV[7…]  fields of the record and their values
-- RETURN    1 done, 0 the job was taken away
if not redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
if ARGV[2] ~= '' then redis.call('ZADD', KEYS[5], ARGV[3], ARGV[2]) end
if ARGV[5] == '0' then
  redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
else
  if ARGV[4] ~= '' then
    redis.call('DEL', KEYS[4])
    redis.call('RPUSH', KEYS[4], ARGV[4])
    redis.call('PEXPIRE', KEYS[4], ARGV[5])
  end
  redis.call('HDEL', KEYS[2], 'worker', 'since', 'due', 'code', 'message')
  redis.call('HSET', KEYS[2], unpack(ARGV, 7))
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
  redis.call('PEXPIRE', KEYS[3], ARGV[5])
end
if ARGV[6] ~= '' and redis.call('GET', KEYS[6]) == ARGV[6] then redis.call('DEL', KEYS[6]) end
redis.call('LREM', KEYS[1], 1, ARGV[1])
return 1
