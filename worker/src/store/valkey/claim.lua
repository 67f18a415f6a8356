-- Makes all claims or none.
-- KEYS: the claim's id, then the counters
-- ARGV: how long the id is remembered in ms, then for each counter its end, the amount, the most
-- Answers {0, values…}, or {1, place from 0, value} of the first counter that has too little left.
local count = #KEYS - 1
local known = redis.call('EXISTS', KEYS[1]) == 1
if not known then
    for i = 1, count do
        local used = tonumber(redis.call('GET', KEYS[i + 1]) or '0')
        local amount, most = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
        if used + math.max(amount, 1) > most then return {1, i - 1, used} end
    end
    redis.call('SET', KEYS[1], 1, 'PX', ARGV[1])
end
local answer = {0}
for i = 1, count do
    local value
    if known then
        value = tonumber(redis.call('GET', KEYS[i + 1]) or '0')
    else
        value = redis.call('INCRBY', KEYS[i + 1], ARGV[3 * i])
        redis.call('PEXPIREAT', KEYS[i + 1], ARGV[3 * i - 1])
    end
    answer[i + 1] = value
end
return answer
