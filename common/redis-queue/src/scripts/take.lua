-- ARGV: client, lease (ms), jobs of one account that may be out. Gives {leases that ran out, when to look again (ms from
-- now, -1 for never), then job, group, account, priority and entry when there is a job}.
local client, lease, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if redis.call('EXISTS', q .. ':leased') == 0 then
    redis.call('XGROUP', 'CREATE', q .. ':leased', 'workers', '0', 'MKSTREAM')
end

local lost = {}
for _, pending in ipairs(redis.call('XPENDING', q .. ':leased', 'workers', 'IDLE', CAP, '-', '+', 100)) do
    local entry = pending[1]
    local found = redis.call('XRANGE', q .. ':leased', entry, entry)[1]
    local job = found and found[2][2]
    local known = job and redis.call('HMGET', q .. ':job:' .. job, 'account', 'group')
    if known and known[1] then
        free(entry, job, known[1], limit)
        offer(known[2], limit)
    else
        redis.call('XACK', q .. ':leased', 'workers', entry)
        redis.call('XDEL', q .. ':leased', entry)
    end
    table.insert(lost, entry)
    tell('lost', entry)
end

for _, group in ipairs(redis.call('ZRANGEBYSCORE', q .. ':delayed', '-inf', now(), 'LIMIT', 0, 100)) do
    redis.call('ZREM', q .. ':delayed', group)
    offer(group, limit)
end

local account = redis.call('ZRANGE', q .. ':accounts', 0, 0)[1]
if not account then
    local again = -1
    local delayed = redis.call('ZRANGE', q .. ':delayed', 0, 0, 'WITHSCORES')
    if delayed[2] then
        again = math.max(delayed[2] - now(), 1)
    end
    for _, pending in ipairs(redis.call('XPENDING', q .. ':leased', 'workers', '-', '+', 1000)) do
        local left = math.max(CAP - pending[3], 1)
        if again < 0 or left < again then
            again = left
        end
    end
    return { lost, again }
end

local group = redis.call('ZPOPMIN', q .. ':ready:' .. account)[1]
local job = redis.call('ZRANGE', q .. ':group:' .. group, 0, 0)[1]
redis.call('HSET', q .. ':turn', account, redis.call('INCR', q .. ':turns'))
redis.call('HINCRBY', q .. ':active', account, 1)
local entry = redis.call('XADD', q .. ':leased', '*', 'job', job)
-- Scripts are atomic, so this entry is the only one that nobody was given.
redis.call('XREADGROUP', 'GROUP', 'workers', client, 'COUNT', 1, 'STREAMS', q .. ':leased', '>')
redis.call('XCLAIM', q .. ':leased', 'workers', client, 0, entry, 'IDLE', CAP - lease, 'JUSTID')
redis.call('HSET', q .. ':job:' .. job, 'entry', entry)
admit(account, limit)
return { lost, 0, job, group, account, redis.call('HGET', q .. ':job:' .. job, 'priority'), entry }
