-- Changes an entry, if what is expected of it holds.
-- KEYS: entry, last version, index of the space, ends of the space, fence
-- ARGV: key, value, end (0: never), now, what is expected ('', 'absent' or a version), fence ('' for none),
--       1 if the space is listed, 1 if it is collected
local key, value, ends, now, expected, fence, listed, collected = unpack(ARGV)
if fence ~= '' and redis.call('GET', KEYS[5]) ~= fence then return false end
local found = redis.call('HMGET', KEYS[1], 'version', 'ends')
local version = found[1]
if version and found[2] ~= '0' and tonumber(found[2]) <= tonumber(now) then version = false end
if expected == 'absent' then
    if version then return false end
elseif expected ~= '' and version ~= expected then
    return false
end
local new = redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[1], 'value', value, 'version', new, 'ends', ends)
-- Where it ends: for whoever takes it away, or takes its name out of the index.
if collected == '1' or listed == '1' then
    if ends == '0' then redis.call('ZREM', KEYS[4], key) else redis.call('ZADD', KEYS[4], ends, key) end
end
if collected ~= '1' then
    if ends == '0' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIREAT', KEYS[1], ends) end
end
if listed == '1' then redis.call('ZADD', KEYS[3], 0, key) end
return new
