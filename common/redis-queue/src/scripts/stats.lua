-- Gives {jobs, those that are out, those that have to wait until a time, age of the oldest (ms)}.
local out = 0
if redis.call('EXISTS', q .. ':leased') == 1 then
    out = redis.call('XPENDING', q .. ':leased', 'workers')[1]
end
local oldest = redis.call('ZRANGE', q .. ':jobs', 0, 0, 'WITHSCORES')[2]
local age = oldest and math.max(now() - oldest, 0) or 0
return { redis.call('ZCARD', q .. ':jobs'), out, redis.call('ZCARD', q .. ':delayed'), age }
