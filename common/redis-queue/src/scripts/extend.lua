-- ARGV: client, entry, job, lease (ms). Extends a lease; 0 when it is not this client's any more, 2 when its job is
-- canceled.
local client, entry, job, lease = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if not held(entry, client) then
    return 0
end
redis.call('XCLAIM', q .. ':leased', 'workers', client, 0, entry, 'IDLE', CAP - lease, 'JUSTID')
return redis.call('HEXISTS', q .. ':job:' .. job, 'canceled') + 1
