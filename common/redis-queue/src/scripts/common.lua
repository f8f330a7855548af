-- What the scripts share. KEYS[1] is the queue's prefix, whose hash tag keeps all keys in one slot of a cluster.
--
--   :job:ID        hash: group, account, priority, seq, from (ms, not before), entry (while leased)
--   :jobs          zset: every job by the time at which it was put
--   :group:GROUP   zset: the group's jobs in the order in which they were put; the first may be leased
--   :ready:ACCOUNT zset: groups whose first job may be leased now, by priority, then by age
--   :accounts      zset: accounts that have a ready group and may have one more job out, the longest unserved first
--   :turn          hash: when an account was served last, as a count
--   :active        hash: jobs of an account that are out
--   :delayed       zset: groups whose first job has to wait, by when it may go
--   :leased        stream with the consumer group `workers`: jobs that are out; pending entries are the leases
--   :events        stream: what waiting and working clients want to hear

local q = KEYS[1]
-- A pending entry is lost once it has been idle for so long (ms); a lease of less starts with some idleness.
local CAP = 3600000
local EVENTS = 1000

local function now()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function tell(kind, job)
    redis.call('XADD', q .. ':events', 'MAXLEN', '~', EVENTS, '*', 'kind', kind, 'job', job)
end

-- Lets an account have its turn, or not.
local function admit(account, limit)
    local active = tonumber(redis.call('HGET', q .. ':active', account) or 0)
    local within = limit == 0 or active < limit
    if within and redis.call('ZCARD', q .. ':ready:' .. account) > 0 then
        redis.call('ZADD', q .. ':accounts', redis.call('HGET', q .. ':turn', account) or 0, account)
    else
        redis.call('ZREM', q .. ':accounts', account)
    end
end

-- Offers a group's first job, which must not be out, now or when its time comes.
local function offer(group, limit)
    local first = redis.call('ZRANGE', q .. ':group:' .. group, 0, 0)[1]
    if not first then
        return
    end
    local job = redis.call('HMGET', q .. ':job:' .. first, 'account', 'priority', 'seq', 'from')
    if tonumber(job[4]) > now() then
        redis.call('ZADD', q .. ':delayed', job[4], group)
    else
        redis.call('ZADD', q .. ':ready:' .. job[1], job[2] * 1e12 + job[3], group)
        admit(job[1], limit)
    end
end

local function withdraw(group, account, limit)
    redis.call('ZREM', q .. ':delayed', group)
    redis.call('ZREM', q .. ':ready:' .. account, group)
    admit(account, limit)
end

local function forget(job, group)
    redis.call('ZREM', q .. ':group:' .. group, job)
    redis.call('ZREM', q .. ':jobs', job)
    redis.call('DEL', q .. ':job:' .. job)
end

-- Ends a lease; the job stays, as the first of its group.
local function free(entry, job, account, limit)
    redis.call('XACK', q .. ':leased', 'workers', entry)
    redis.call('XDEL', q .. ':leased', entry)
    redis.call('HDEL', q .. ':job:' .. job, 'entry')
    if redis.call('HINCRBY', q .. ':active', account, -1) <= 0 then
        redis.call('HDEL', q .. ':active', account)
    end
    admit(account, limit)
end

-- Whether the entry is this client's lease still.
local function held(entry, client)
    if redis.call('EXISTS', q .. ':leased') == 0 then
        return false
    end
    return #redis.call('XPENDING', q .. ':leased', 'workers', entry, entry, 1, client) == 1
end
