-- ARGV: job, group, account, priority, jobs of one account that may be out. Puts a job, unless it is there.
local job, group, account, priority, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
if redis.call('EXISTS', q .. ':job:' .. job) == 1 then
    return
end
local seq = redis.call('INCR', q .. ':seq')
local time = now()
redis.call('HSET', q .. ':job:' .. job, 'group', group, 'account', account, 'priority', priority, 'seq', seq, 'from', time)
redis.call('ZADD', q .. ':jobs', time, job)
redis.call('ZADD', q .. ':group:' .. group, seq, job)
if redis.call('ZCARD', q .. ':group:' .. group) == 1 then
    offer(group, limit)
    tell('offered', job)
end
