-- Takes names of entries that have vanished out of the index of their space.
-- KEYS: index of the space, ends of the space
-- ARGV: now, how many at the most
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, key in ipairs(gone) do
    redis.call('ZREM', KEYS[1], key)
    redis.call('ZREM', KEYS[2], key)
end
return #gone
