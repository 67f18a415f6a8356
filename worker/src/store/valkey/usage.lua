-- Adds a batch of usage, once an id.
-- KEYS: the batch's id, the index of hours, the index of days, then a hash for each change and a list for each line
-- ARGV: how long the id is remembered in ms, how many changes, then for each change its hour, its field and the amount, then
--       for each line its day and its text
if not redis.call('SET', KEYS[1], 1, 'PX', ARGV[1], 'NX') then return 0 end
local changes = tonumber(ARGV[2])
for i = 1, changes do
    local at = 3 * i
    redis.call('HINCRBY', KEYS[3 + i], ARGV[at + 1], ARGV[at + 2])
    redis.call('ZADD', KEYS[2], ARGV[at], ARGV[at])
end
for i = 1, #KEYS - 3 - changes do
    local at = 3 * changes + 1 + 2 * i
    redis.call('RPUSH', KEYS[3 + changes + i], ARGV[at + 1])
    redis.call('ZADD', KEYS[3], ARGV[at], ARGV[at])
end
return 1
