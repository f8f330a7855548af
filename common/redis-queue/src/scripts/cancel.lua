-- ARGV: job, jobs of one account that may be out. Takes a waiting job off, or tells who works on it to stop.
local job, limit = ARGV[1], tonumber(ARGV[2])
local known = redis.call('HMGET', q .. ':job:' .. job, 'account', 'group', 'entry')
if not known[1] then
    return
end
if known[3] then
    -- Whoever misses the event learns it when the lease is extended.
    redis.call('HSET', q .. ':job:' .. job, 'canceled', 1)
    tell('canceled', known[3])
    return
end
local first = redis.call('ZRANGE', q .. ':group:' .. known[2], 0, 0)[1] == job
forget(job, known[2])
if first then
    withdraw(known[2], known[1], limit)
    offer(known[2], limit)
    tell('offered', job)
end
