-- Removes jobs from where they lie, and all that is known of them.
--
-- KEYS[1]  where they lie: dead, later, a lane, or jobs of a key that are set aside
-- KEYS[2]  the keys of the queue that have jobs set aside, if KEYS[1] is such a list; else KEYS[1] again
-- KEYS[3…] of each job: its record, its log, its result, its unique key; KEYS[1] again for what it has not
-- ARGV[1]  '1': KEYS[1] is a list, and its first 1,000 are searched; '-1': all of it is, from its end; '' = it is a set
-- ARGV[2]  the key that KEYS[1] is of, if its jobs are set aside; else ''
-- ARGV[3…] of each job: the entry, and its id if it lets its unique key go ('' = it does not)
-- RETURN   of each job 1 removed, 0 it was not there
local removed = {}
for i = 3, #ARGV, 2 do
  local n, key = (i - 1) / 2, 2 * i - 3
  if ARGV[1] ~= '' then
    local seen = redis.call('LPOS', KEYS[1], ARGV[i], 'RANK', ARGV[1], 'MAXLEN', ARGV[1] == '1' and 1000 or 0)
    removed[n] = seen and redis.call('LREM', KEYS[1], ARGV[1], ARGV[i]) or 0
  else
    removed[n] = redis.call('ZREM', KEYS[1], ARGV[i])
  end
  if removed[n] == 1 then
    for k = key, key + 2 do
      if KEYS[k] ~= KEYS[1] then redis.call('UNLINK', KEYS[k]) end
    end
    if ARGV[i + 1] ~= '' and redis.call('GET', KEYS[key + 3]) == ARGV[i + 1] then redis.call('DEL', KEYS[key + 3]) end
  end
end
if KEYS[2] ~= KEYS[1] and redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SREM', KEYS[2], ARGV[2]) end
return removed
