-- Ends a group: pushes the job that comes when all are done. Of several rivals one does it.
--
-- KEYS[1]   the group
-- KEYS[2]   the ids of its jobs that are not done
-- KEYS[3]   its results
-- KEYS[4]   the lane of the job
-- KEYS[5]   its record
-- ARGV[1]   the job
-- ARGV[2]   how long its record lives, in ms
-- ARGV[3…]  fields of the record and their values
-- RETURN    1 pushed, 0 somebody else was quicker
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('RPUSH', KEYS[4], ARGV[1])
redis.call('HSET', KEYS[5], 'state', 'waiting', unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[5], ARGV[2])
redis.call('UNLINK', KEYS[1], KEYS[3])
return 1
