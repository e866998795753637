-- Frees the places of slots whose run list is empty.
--
-- KEYS[1]   running, or who runs jobs of one key
-- KEYS[2…]  run lists of slots that stand there
-- ARGV      the names of these slots
-- RETURN    how many stand there still
for i, slot in ipairs(ARGV) do
  if redis.call('LLEN', KEYS[1 + i]) == 0 then redis.call('SREM', KEYS[1], slot) end
end
return redis.call('SCARD', KEYS[1])
