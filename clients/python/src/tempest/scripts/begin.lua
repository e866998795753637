-- Says in the record of a claimed job that it runs, and where; unless it was taken away meanwhile.
--
-- KEYS[1]   run list the job lies in
-- KEYS[2]   its record
-- KEYS[3]   its unique key; KEYS[2] again if nothing is to be let go
-- ARGV[1]   the job as it lies in the run list
-- ARGV[2]   how long the record lives, in ms
-- ARGV[3]   its id if it lets KEYS[3] go; '' = it does not
-- ARGV[4…]  fields of the record and their values
-- RETURN    1 said, 0 the job was taken away
if not redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
redis.call('HDEL', KEYS[2], 'due')
redis.call('HSET', KEYS[2], 'state', 'running', unpack(ARGV, 4))
redis.call('PEXPIRE', KEYS[2], ARGV[2])
if ARGV[3] ~= '' and redis.call('GET', KEYS[3]) == ARGV[3] then redis.call('DEL', KEYS[3]) end
return 1
