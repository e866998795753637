-- Writes how far a background job is into its record, or a line into its log; unless it neither waits nor runs any more.
--
-- KEYS[1]  its record
-- KEYS[2]  its log; KEYS[1] again to write how far it is
-- ARGV[1]  how far it is, a JSON text; or the line
-- ARGV[2]  how long record or log live from now, in ms
-- ARGV[3]  how many lines are kept
-- RETURN   1 written, 0 its record says that it does neither, or it has none
local state = redis.call('HGET', KEYS[1], 'state')
if state ~= 'running' and state ~= 'waiting' then return 0 end
if KEYS[2] == KEYS[1] then
  redis.call('HSET', KEYS[1], 'progress', ARGV[1])
else
  redis.call('RPUSH', KEYS[2], ARGV[1])
  redis.call('LTRIM', KEYS[2], -ARGV[3], -1)
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
