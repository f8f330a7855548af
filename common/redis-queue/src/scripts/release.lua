-- ARGV: client, entry, job, delay (ms, -1 ends the job), jobs of one account that may be out. Ends a lease; 0 when it is
-- not this client's any more.
local client, entry, job, delay, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
if not held(entry, client) then
    return 0
end
local known = redis.call('HMGET', q .. ':job:' .. job, 'account', 'group')
free(entry, job, known[1], limit)
if delay < 0 then
    forget(job, known[2])
else
    redis.call('HSET', q .. ':job:' .. job, 'from', now() + delay)
    redis.call('HDEL', q .. ':job:' .. job, 'canceled')
end
offer(known[2], limit)
tell('offered', job)
return 1
