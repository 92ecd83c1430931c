"""The Lua scripts that change job records. Each is atomic, and takes its times from Redis's clock."""

from __future__ import annotations

# One call appends the events of all jobs of an engine step. KEYS: job, events, waiting, finished, active, durations of
# each job. ARGV: TTL, cap, TTL of a job whose client has left, then for each job: attempt, claim or '', number of the
# append or 0, channel, job id, new state or '', whether the last event is terminal, whether to renew the TTL, number of
# new tokens, number of events, event...
# Returns {status, last sequence number} of each: 0 appended, 1 appended but cancelled, -1 refused.
# A writer numbers its appends from 1. If Redis has answered too late, the writer repeats an append that has been done:
# such a number has been seen, and nothing is stored again. After a number that is missing, only an end is accepted,
# as other events would leave a gap in the answer.
APPEND = """
local function append(keys, at)
  local attempt, claim, number = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local state, terminal, count = ARGV[at + 5], ARGV[at + 6] == '1', tonumber(ARGV[at + 9])
  local job = redis.call('HMGET', keys[1], 'attempt', 'done', 'cancel', 'seq', 'claim', 'appends', 'durable', 'started')
  if job[1] ~= attempt or (claim ~= '' and job[5] ~= claim) then return {-1, 0} end
  local seq, appends = tonumber(job[4] or '0'), tonumber(job[6] or '0')
  local status = job[3] and 1 or 0
  if number > 0 and number <= appends then return {status, seq} end
  if job[2] or (number > appends + 1 and not terminal) then return {-1, 0} end
  for i = at + 10, at + 9 + count do
    seq = seq + 1
    local frame = seq .. ' ' .. ARGV[i]
    redis.call('RPUSH', keys[2], frame)
    redis.call('PUBLISH', ARGV[at + 3], frame)
  end
  if seq > tonumber(ARGV[2]) then redis.call('LTRIM', keys[2], -tonumber(ARGV[2]), -1) end
  redis.call('HSET', keys[1], 'seq', seq)
  if number > 0 then redis.call('HSET', keys[1], 'appends', number) end
  if ARGV[at + 8] ~= '0' then
    local total = redis.call('HINCRBY', keys[1], 'tokens', ARGV[at + 8])
    if total == tonumber(ARGV[at + 8]) then redis.call('HSET', keys[1], 'generating', redis.call('TIME')[1]) end
  end
  if state ~= '' then redis.call('HSET', keys[1], 'state', state) end
  if state == 'running' or state == 'done' then redis.call('ZREM', keys[3], ARGV[at + 4]) end
  if terminal then
    redis.call('HSET', keys[1], 'done', 1)
    redis.call('HDEL', keys[1], 'request', 'hits')
    local clock = redis.call('TIME')
    redis.call('LPUSH', keys[4], clock[1] .. '.' .. string.format('%06d', clock[2]))
    redis.call('LTRIM', keys[4], 0, 31)
    redis.call('ZREM', keys[5], ARGV[at + 4])
    if job[8] then
      redis.call('LPUSH', keys[6], clock[1] + clock[2] / 1e6 - job[8])
      redis.call('LTRIM', keys[6], 0, 31)
    end
  end
  if terminal or (ARGV[at + 7] == '1' and job[7] ~= '1') then
    local ttl = terminal and job[3] and job[7] ~= '1' and ARGV[3] or ARGV[1]
    redis.call('EXPIRE', keys[1], ttl)
    redis.call('EXPIRE', keys[2], ttl)
  end
  return {status, seq}
end
local results, at = {}, 4
for k = 1, #KEYS, 6 do
  results[#results + 1] = append({unpack(KEYS, k, k + 5)}, at)
  at = at + 10 + ARGV[at + 9]
end
return results
"""

# KEYS: job, waiting, events. ARGV: TTL, limit (0: none), after how many seconds a job no longer counts as waiting, job
# id, channel, a `Queued` event, seconds until the deadline or '', then field, value, ...
# Emits `Queued` with the job's position, and returns the position, or -1 if the queue is full.
SUBMIT = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3])
local waiting = redis.call('ZCARD', KEYS[2])
if tonumber(ARGV[2]) > 0 and waiting >= tonumber(ARGV[2]) then return -1 end
if redis.call('EXISTS', KEYS[1]) == 1 then return waiting end
local fields = {}
for i = 8, #ARGV do fields[#fields + 1] = ARGV[i] end
local deadline = ARGV[7] ~= '' and now + ARGV[7] or ''
redis.call('HSET', KEYS[1], 'seq', 1, 'created', now, 'submitted', now, 'deadline', deadline, unpack(fields))
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], now, ARGV[4])
local queued = cjson.decode(ARGV[6])
queued.position, queued.created = waiting, now
local frame = '1 ' .. cjson.encode(queued)
redis.call('DEL', KEYS[3])
redis.call('RPUSH', KEYS[3], frame)
redis.call('EXPIRE', KEYS[3], ARGV[1])
redis.call('PUBLISH', ARGV[5], frame)
return waiting
"""

# KEYS: job, heartbeat, then for interactive and for durable jobs: waiting for any model, waiting for the worker's one,
# active.
# ARGV: heartbeat TTL, task, claim, slug of the worker's model or '', digest of its file, job id, field, field...
# Claims a job that is queued for this task. The claim is a new id that every write of the worker states. If Redis has
# answered too late and the same claim is made again, it succeeds again. A job for any model is for the worker's one
# from now on. Returns Redis's time and the values of the fields, or nil if the job is for another model, or is taken or
# queued for a later task, because its message came twice.
CLAIM = """
local job = redis.call('HMGET', KEYS[1], 'state', 'done', 'task', 'claim', 'model', 'durable')
if job[2] or job[3] ~= ARGV[2] then return false end
if ARGV[4] ~= '' and job[5] and job[5] ~= '' and job[5] ~= ARGV[4] then return false end
if job[4] ~= ARGV[3] then
  if job[1] ~= 'queued' then return false end
  redis.call('HSET', KEYS[1], 'state', 'taken', 'claim', ARGV[3], 'appends', 0)
  redis.call('HDEL', KEYS[1], 'suspected', 'tokens', 'generating')
  local k, now = job[6] == '1' and 6 or 3, redis.call('TIME')
  redis.call('HSET', KEYS[1], 'started', now[1] + now[2] / 1e6)
  redis.call('ZADD', KEYS[k + 2], now[1], ARGV[6])
  if ARGV[4] ~= '' then
    redis.call('HSETNX', KEYS[1], 'digest', ARGV[5])
    if not job[5] or job[5] == '' then
      redis.call('HSET', KEYS[1], 'model', ARGV[4])
      local since = redis.call('ZSCORE', KEYS[k], ARGV[6])
      if since then
        redis.call('ZREM', KEYS[k], ARGV[6])
        redis.call('ZADD', KEYS[k + 1], since, ARGV[6])
      end
    end
  end
end
redis.call('SET', KEYS[2], 1, 'EX', ARGV[1])
local clock = redis.call('TIME')
return {clock[1] .. '.' .. string.format('%06d', clock[2]), redis.call('HMGET', KEYS[1], unpack(ARGV, 7))}
"""

# KEYS: job. ARGV: attempt, claim, field, value... Stores fields for the task that continues the job. Returns 1, or 0 if
# another worker has the job.
STORE = """
local job = redis.call('HMGET', KEYS[1], 'attempt', 'claim', 'done')
if job[1] ~= ARGV[1] or job[2] ~= ARGV[2] or job[3] then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
return 1
"""

# KEYS: job, waiting, waiting of the next task, active. ARGV: attempt, claim, job id, next task. Queues the job for that
# task, and ends the claim. Returns 1, or 0 if another worker has the job. Repeated by the same worker, it returns 1
# again.
HAND_OVER = """
local job = redis.call('HMGET', KEYS[1], 'attempt', 'claim', 'done', 'handed_over')
if job[1] ~= ARGV[1] or job[3] then return 0 end
if job[4] == ARGV[2] then return 1 end
if job[2] ~= ARGV[2] then return 0 end
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
redis.call('HSET', KEYS[1], 'task', ARGV[4], 'state', 'queued', 'submitted', now, 'handed_over', ARGV[2])
redis.call('HDEL', KEYS[1], 'claim', 'suspected', 'resent')
redis.call('ZREM', KEYS[2], ARGV[3])
redis.call('ZREM', KEYS[4], ARGV[3])
redis.call('ZADD', KEYS[3], now, ARGV[3])
return 1
"""

# KEYS: job, events, heartbeat of each job. ARGV: heartbeat TTL, TTL, then for each job: attempt, claim. Renews the
# heartbeats, and the TTLs of interactive jobs. Returns 1 for each job that its worker still has, and 0 for the others.
RENEW = """
local results = {}
for i = 1, #KEYS / 3 do
  local key = KEYS[3 * i - 2]
  local job = redis.call('HMGET', key, 'attempt', 'claim', 'durable', 'done')
  local current = job[1] == ARGV[2 * i + 1] and job[2] == ARGV[2 * i + 2]
  if current then
    redis.call('SET', KEYS[3 * i], 1, 'EX', ARGV[1])
    if job[3] ~= '1' and not job[4] then
      redis.call('EXPIRE', key, ARGV[2])
      redis.call('EXPIRE', KEYS[3 * i - 1], ARGV[2])
    end
  end
  results[i] = current and 1 or 0
end
return results
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

# KEYS: job, waiting, active. ARGV: the attempt that was lost, job id, task. Returns the number of the new attempt, or 0
# if the job is done or has a new attempt already. The task is written too, as its name may be that of an earlier
# release.
RETRY = """
local job = redis.call('HMGET', KEYS[1], 'attempt', 'done')
if not job[1] or job[2] or tonumber(job[1]) ~= tonumber(ARGV[1]) then return 0 end
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
redis.call('HSET', KEYS[1], 'state', 'queued', 'submitted', now, 'task', ARGV[3])
redis.call('HDEL', KEYS[1], 'claim', 'suspected', 'resent')
redis.call('ZADD', KEYS[2], now, ARGV[2])
redis.call('ZREM', KEYS[3], ARGV[2])
return redis.call('HINCRBY', KEYS[1], 'attempt', 1)
"""

# KEYS: job, waiting, heartbeat, active. ARGV: attempt, claim, job id. Queues a claimed job again, because its worker
# stops. The new attempt resumes from the replay, and does not count as a loss. Returns 1, or 0 if another worker has
# the job.
RELEASE = """
local job = redis.call('HMGET', KEYS[1], 'attempt', 'claim', 'done')
if job[1] ~= ARGV[1] or job[2] ~= ARGV[2] or job[3] then return 0 end
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
redis.call('HSET', KEYS[1], 'state', 'queued', 'submitted', now)
redis.call('HDEL', KEYS[1], 'claim', 'suspected', 'resent')
redis.call('HINCRBY', KEYS[1], 'attempt', 1)
redis.call('HINCRBY', KEYS[1], 'released', 1)
redis.call('DEL', KEYS[3])
redis.call('ZREM', KEYS[4], ARGV[3])
redis.call('ZADD', KEYS[2], now, ARGV[3])
return 1
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

# KEYS: live metrics. ARGV: field, snapshot. Stores the snapshot behind the time.
PUBLISH_METRICS = """
local clock = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], clock[1] .. '.' .. string.format('%06d', clock[2]) .. ' ' .. ARGV[2])
"""

# KEYS: live metrics, retired metrics. ARGV: field of a snapshot, its value, field of the sum, its value or '', the new
# sum. Puts the sum in place and removes the snapshot. Returns 1, or 0 if one of the two has changed meanwhile.
FOLD_METRICS = """
local before = redis.call('HGET', KEYS[2], ARGV[3]) or ''
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] or before ~= ARGV[4] then return 0 end
local at = string.match(ARGV[2], '^[^ ]+')
redis.call('HSET', KEYS[2], ARGV[3], at .. ' ' .. ARGV[5])
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
"""
