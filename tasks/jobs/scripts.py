"""The Lua scripts that change job records. Each is atomic, and takes its times from Redis's clock."""

from __future__ import annotations

# One call appends the events of all jobs of an engine step. KEYS: job, events, waiting, finished of each job. ARGV:
# TTL, cap, then for each job: attempt, channel, job id, new state or '', whether the last event is terminal, whether to
# renew the TTL, number of events, event...
# Returns {status, last sequence number} of each: 0 appended, 1 appended but cancelled, -1 refused.
APPEND = """
local function append(keys, at)
  local attempt, state, count = ARGV[at], ARGV[at + 3], tonumber(ARGV[at + 6])
  local job = redis.call('HMGET', keys[1], 'attempt', 'done', 'cancel', 'seq')
  if not job[1] or tonumber(job[1]) ~= tonumber(attempt) or job[2] then return {-1, 0} end
  local seq = tonumber(job[4] or '0')
  for i = at + 7, at + 6 + count do
    seq = seq + 1
    local frame = seq .. ' ' .. ARGV[i]
    redis.call('RPUSH', keys[2], frame)
    redis.call('PUBLISH', ARGV[at + 1], frame)
  end
  if seq > tonumber(ARGV[2]) then redis.call('LTRIM', keys[2], -tonumber(ARGV[2]), -1) end
  redis.call('HSET', keys[1], 'seq', seq)
  if state ~= '' then redis.call('HSET', keys[1], 'state', state) end
  if state == 'running' or state == 'done' then redis.call('ZREM', keys[3], ARGV[at + 2]) end
  if ARGV[at + 4] == '1' then
    redis.call('HSET', keys[1], 'done', 1)
    redis.call('HDEL', keys[1], 'request', 'hits')
    local clock = redis.call('TIME')
    redis.call('LPUSH', keys[4], clock[1] .. '.' .. string.format('%06d', clock[2]))
    redis.call('LTRIM', keys[4], 0, 31)
  end
  if ARGV[at + 5] == '1' then
    redis.call('EXPIRE', keys[1], ARGV[1])
    redis.call('EXPIRE', keys[2], ARGV[1])
  end
  return {job[3] and 1 or 0, seq}
end
local results, at = {}, 3
for k = 1, #KEYS, 4 do
  results[#results + 1] = append({KEYS[k], KEYS[k + 1], KEYS[k + 2], KEYS[k + 3]}, at)
  at = at + 7 + ARGV[at + 6]
end
return results
"""

# KEYS: job, waiting, events. ARGV: TTL, limit (0: none), after how many seconds a job no longer counts as waiting, job
# id, channel, TTL of events, a `Queued` event, seconds until the deadline or '', then field, value, ...
# Emits `Queued` with the job's position, and returns the position, or -1 if the queue is full.
SUBMIT = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3])
local waiting = redis.call('ZCARD', KEYS[2])
if tonumber(ARGV[2]) > 0 and waiting >= tonumber(ARGV[2]) then return -1 end
if redis.call('EXISTS', KEYS[1]) == 1 then return waiting end
local fields = {}
for i = 9, #ARGV do fields[#fields + 1] = ARGV[i] end
local deadline = ARGV[8] ~= '' and now + ARGV[8] or ''
redis.call('HSET', KEYS[1], 'seq', 1, 'submitted', now, 'deadline', deadline, unpack(fields))
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], now, ARGV[4])
local queued = cjson.decode(ARGV[7])
queued.position, queued.created = waiting, now
local frame = '1 ' .. cjson.encode(queued)
redis.call('DEL', KEYS[3])
redis.call('RPUSH', KEYS[3], frame)
redis.call('EXPIRE', KEYS[3], ARGV[6])
redis.call('PUBLISH', ARGV[5], frame)
return waiting
"""

# KEYS: job, heartbeat. ARGV: heartbeat TTL, task, field, field... Claims a job that is queued for this task. Returns
# Redis's time and the values of the fields, or nil if the job is taken or queued for a later task, because its message
# came twice.
CLAIM = """
local job = redis.call('HMGET', KEYS[1], 'state', 'done', 'task')
if job[1] ~= 'queued' or job[2] or job[3] ~= ARGV[2] then return false end
redis.call('HSET', KEYS[1], 'state', 'taken')
redis.call('HDEL', KEYS[1], 'suspected')
redis.call('SET', KEYS[2], 1, 'EX', ARGV[1])
local clock = redis.call('TIME')
return {clock[1] .. '.' .. string.format('%06d', clock[2]), redis.call('HMGET', KEYS[1], unpack(ARGV, 3))}
"""

# KEYS: job, heartbeat. ARGV: attempt, for how long the heartbeat must be missing. Returns 1 if the worker of this
# attempt is lost. A heartbeat that is missing once proves nothing: if Redis or the host has stalled, the heartbeats of
# live workers have expired too, and are renewed soon after the stall.
IS_LOST = """
local job = redis.call('HMGET', KEYS[1], 'attempt', 'done', 'state', 'suspected')
if job[1] ~= ARGV[1] or job[2] or job[3] == 'queued' then return 0 end
if redis.call('EXISTS', KEYS[2]) == 1 then
  if job[4] then redis.call('HDEL', KEYS[1], 'suspected') end
  return 0
end
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
if not job[4] then redis.call('HSET', KEYS[1], 'suspected', now) end
return now - (job[4] or now) >= tonumber(ARGV[2]) and 1 or 0
"""

# KEYS: job, waiting. ARGV: the attempt that was lost, job id, task. Returns the number of the new attempt, or 0 if the
# job is done or has a new attempt already. The task is written too, as its name may be that of an earlier release.
RETRY = """
local job = redis.call('HMGET', KEYS[1], 'attempt', 'done')
if not job[1] or job[2] or tonumber(job[1]) ~= tonumber(ARGV[1]) then return 0 end
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
redis.call('HSET', KEYS[1], 'state', 'queued', 'submitted', now, 'task', ARGV[3])
redis.call('HDEL', KEYS[1], 'suspected', 'resent')
redis.call('ZADD', KEYS[2], now, ARGV[2])
return redis.call('HINCRBY', KEYS[1], 'attempt', 1)
"""

# KEYS: job, messages of its queue. ARGV: seconds between two messages for the job if the queue is empty, and if not.
# Returns 1 if the message of a queued job should be sent again, which is recorded. A message that a worker has
# prefetched is not in the queue, so an empty queue does not prove that the message is lost.
RESEND = """
local job = redis.call('HMGET', KEYS[1], 'state', 'done', 'submitted', 'resent')
if job[1] ~= 'queued' or job[2] then return 0 end
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
local interval = redis.call('LLEN', KEYS[2]) == 0 and ARGV[1] or ARGV[2]
if now - (job[4] or job[3]) < tonumber(interval) then return 0 end
redis.call('HSET', KEYS[1], 'resent', now)
return 1
"""

# KEYS: workers of a role. ARGV: name, JSON object that is not empty. Stores it with the time as its first field, `at`.
ANNOUNCE = """
local clock = redis.call('TIME')
local at = clock[1] .. '.' .. string.format('%06d', clock[2])
redis.call('HSET', KEYS[1], ARGV[1], '{"at":' .. at .. ',' .. string.sub(ARGV[2], 2))
"""
