-- Takes one of some places, or keeps the one that is held.
-- KEYS: ends of the holders, fences of the holders, the newest fence
-- ARGV: holder, how many places, end, now, how long all this outlives the end in ms
local holder, most, ends, now, beyond = unpack(ARGV)
for _, late in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
    redis.call('ZREM', KEYS[1], late)
    redis.call('HDEL', KEYS[2], late)
end
local fence = redis.call('HGET', KEYS[2], holder)
if not fence then
    if redis.call('ZCARD', KEYS[1]) >= tonumber(most) then return false end
    fence = redis.call('INCR', KEYS[3])
    redis.call('HSET', KEYS[2], holder, fence)
end
redis.call('ZADD', KEYS[1], ends, holder)
for i = 1, 3 do redis.call('PEXPIREAT', KEYS[i], ends + beyond) end
return tonumber(fence)
