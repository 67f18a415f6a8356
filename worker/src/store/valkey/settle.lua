-- Settles claims, once an id.
-- KEYS: the settlement's id, then the counters
-- ARGV: how long the id is remembered in ms, then for each counter its end and the change
if not redis.call('SET', KEYS[1], 1, 'PX', ARGV[1], 'NX') then return 0 end
for i = 1, #KEYS - 1 do
    if redis.call('INCRBY', KEYS[i + 1], ARGV[2 * i + 1]) < 0 then redis.call('SET', KEYS[i + 1], 0) end
    redis.call('PEXPIREAT', KEYS[i + 1], ARGV[2 * i])
end
return 1
