-- Takes an entry away, if it is as expected.
-- KEYS: entry, index of the space, ends of the space
-- ARGV: key, what is expected ('' or a version), now, 1 if the space is collected
local key, expected, now, collected = unpack(ARGV)
local found = redis.call('HMGET', KEYS[1], 'version', 'ends')
if not found[1] then return 0 end
if expected ~= '' then
    if found[1] ~= expected then return 0 end
elseif collected ~= '1' and found[2] ~= '0' and tonumber(found[2]) <= tonumber(now) then
    return 0
end
redis.call('ZREM', KEYS[2], key)
redis.call('ZREM', KEYS[3], key)
return redis.call('UNLINK', KEYS[1])
