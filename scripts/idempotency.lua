-- The one script on the request path: a list of operations on records, done atomically, with all counters in the
-- same call. docs/design.md has the table of operations and why they are safe; this head has the call.
--
-- KEYS[1]    metrics hash: counters, and the history of this Redis (fields history, met_at, settled_at, settle)
-- KEYS[2]    number of the last counter flush of the calling process
-- KEYS[3..]  the record of operation 1, 2, … (the same key may come again)
--
-- ARGV[1]    number of this call's form: 1
-- ARGV[2]    SETTLE, ms; 0: no settling, and INFO is not asked for
-- ARGV[3]    LOCK_TTL, ms: the lease that a claim or a renewal gets
-- ARGV[4]    RESULT_TTL, ms: how long a record lives from its last write
-- ARGV[5]    MAX_ATTEMPTS: a webhook whose executions failed that often is not executed any more; 0: no limit
-- ARGV[6]    number of the counter flush that rides on this call; 0: none
-- ARGV[7]    how many counters it has, then each as field, increment
-- then the operations, each a name and its arguments:
--   claim    token, first, digest, reject     first = 1: a request's first look, so that a result found is counted here;
--                                     digest: of the body that would be executed; reject = 1: no other body
--                                     after an attempt in doubt
--   look     first                    as claim, but nothing is claimed
--   renew    attempt, token, digest
--   store    attempt, token, TTL in ms, digest, status, content type and headers (as fields of a record), result
--   restore  record            a done or failed record, verbatim
--   fail     attempt, token, reason     attempt 0: a claim whose reply never came
--   forget   force             force = 1: also while it runs
--
-- Reply: { history ('' where none could be noted), ms it was met, ms now, ms left of settling, flush taken (1) or not (0), transitions counted (1) or
-- not (0: Redis is full), answer 1, answer 2, … }
-- Answers:
--   { 'claimed', attempt, before }       run it; before: why the attempt before failed, '' where that is not known
--   { 'mismatch', digest }               an attempt in doubt had another body
--   { 'poisoned' }                       its executions failed MAX_ATTEMPTS times
--   { 'free', before }                   to a look: a claim would win; before, also 'nothing' or 'expired'
--   { 'progress', ms left, digest }      another one's lease holds
--   { 'done', record }           replay it; past a bound of bytes in one reply the record is '': fetch it by GET
--   { 'cancelled' }              this token was failed before
--   { 'settling', ms left }      decide nothing yet        { 'renewed' }, { 'stored' }, { 'failed' }, { 'forgotten' }
--   { 'restored' }               it was put back: Redis had less than the caller knew, so it lost its history
--   { 'refused', record }        another attempt stands    { 'expired' }               its end has come
--   { 'missing' }                nothing to forget         { 'running' }               to forget it takes force
--   { 'foreign', version }       this version did not write this value; it is left as it is. version: the form of
--                                another version of ours, '' where none of ours wrote it
--   { 'error', text }            Redis refused a command (full, read-only); nothing was changed or counted
--
-- Why it is safe. Attempts of a fingerprint only grow while Redis keeps its history, and a token belongs to one
-- attempt (to a later one too, where its claim was repeated and came late: then that one counts). So an operation that meets a later attempt, or its own attempt done by another, came too late and is
-- refused; one that meets less than its caller knows to have been there (nothing, or a lower attempt) proves that
-- history was lost, and puts back what the caller knows. Every operation may be repeated: under the same token it
-- finds its own work and says so, and counts it once. Time is this Redis' own.

local call, try = redis.call, redis.pcall
if ARGV[1] ~= '1' then return redis.error_reply('ERR oncegate: this script takes calls of form 1') end

local METRICS, FLUSHED = KEYS[1], KEYS[2]
local SETTLE, LEASE, MAX_ATTEMPTS = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])
local MOST = 1024 * 1024 -- bytes of records in one reply, but for the first
local CENTURY = 100 * 365 * 24 * 60 * 60 * 1000 -- no lease is longer
local DAY = 24 * 60 * 60 * 1000
local FORGOTTEN = '-'

-- Redis prints large numbers as 1.7e+12; every integer that leaves Lua as text goes through here.
local function int(n)
  return string.format('%.0f', n)
end

local clock = call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- Counters of transitions, written once at the end.
local counts = {}
local function count(field)
  counts[field] = (counts[field] or 0) + 1
end

-- A write that Redis refuses (full, read-only, too few replicas) is an answer of its operation, not of the call.
local function refusal(reply)
  if type(reply) == 'table' and reply.err then return { 'error', reply.err } end
end

-- ---------------------------------------------------------------------------------------------------- history ----

local history, met, settled, unsettled = '', 0, 0, nil

-- settling says until when nothing new is decided, and notes a history that was not met before.
local function look_at_history()
  local known = call('HMGET', METRICS, 'history', 'met_at', 'settled_at', 'settle')
  local server = string.match(call('INFO', 'replication'), 'master_replid:(%w+)')
  if known[1] == server then
    history, met, settled = known[1], tonumber(known[2]) or 0, tonumber(known[3]) or 0
    -- A clock that was stepped back must not settle for ever: the bound is the writer's.
    if settled > now + 5 * math.min(tonumber(known[4]) or 0, DAY) then settled = 0 end
    return
  end
  unsettled = refusal(try('HSET', METRICS, 'history', server, 'met_at', int(now), 'settled_at', int(now + SETTLE),
    'settle', int(SETTLE)))
  if unsettled then return end
  history, met, settled = server, now, now + SETTLE
  count('settlings')
end

if SETTLE > 0 then look_at_history() end

-- A claim, a store or a forget is answered this while Redis settles, whatever stands there.
local function settling()
  if unsettled then return unsettled end
  if settled > now then return { 'settling', settled - now } end
end

-- What is put back while settling shows that others may still be about to: settling goes on, within its bound.
local function put_back()
  count('restored')
  if settled > now then
    settled = math.min(now + SETTLE, met + 5 * SETTLE)
    try('HSET', METRICS, 'settled_at', int(settled))
  end
end

-- ----------------------------------------------------------------------------------------------------- record ----

local function is_digest(text)
  return text and #text == 32 and not string.find(text, '%X')
end

-- parse returns a record's head, or nil where no version of ours wrote the value.
local function parse(value)
  local state, attempt, token, rest = string.match(value, '^([PDF])1 (%d+) (%S+) ([^\n]*)\n')
  if not state or tonumber(attempt) >= 2 ^ 53 then return nil end -- Lua counts exactly below it
  local r = { state = state, attempt = tonumber(attempt), token = token, value = value }
  if state == 'P' then
    local deadline, lease, started, digest, failures = string.match(rest, '^(%d+) (%d+) (%d+) (%S+) ?(%d*)')
    if not deadline or not is_digest(digest) then return nil end
    r.deadline, r.lease, r.started, r.digest = tonumber(deadline), tonumber(lease), started, digest
    r.failures = tonumber(failures) or 0
    if r.deadline >= 2 ^ 53 or r.lease > CENTURY or tonumber(started) >= 2 ^ 53 then return nil end
  elseif state == 'D' then
    local ends = string.match(rest, '^%d+ (%d+) ')
    if not ends then return nil end
    r.ends = tonumber(ends)
  else
    local failures
    r.reason, r.digest, failures = string.match(rest, '^%d+ (%S+) ?(%S*) ?(%d*)')
    if not is_digest(r.digest) then r.digest = nil end -- a claim that was never answered, or a forget, has none
    r.failures = tonumber(failures) or 0
  end
  return r
end

local NOTHING = { state = 'nothing', attempt = 0, failures = 0 }

local function foreign(value)
  return { 'foreign', type(value) == 'string' and string.match(value, '^[PDF](%d+) ') or '' }
end

-- read returns what stands at a key, or nil and the answer that says why that cannot be known. Where it is this very
-- attempt in progress, which is all that a caller who names one wants to know, it is not parsed.
local function read(key, attempt, token)
  local value = try('GET', key)
  if not value then return NOTHING end
  if type(value) == 'table' then
    if string.find(value.err, 'WRONGTYPE', 1, true) then return nil, foreign() end
    return nil, refusal(value)
  end
  if attempt then
    local own = 'P1 ' .. attempt .. ' ' .. token .. ' '
    if string.sub(value, 1, #own) == own then return { state = 'P', token = token } end
  end
  local r = parse(value)
  if not r then return nil, foreign(value) end
  return r
end

local function write(key, ttl, value)
  return refusal(try('SET', key, value, 'PX', ttl))
end

local now_text, lease_end = int(now), int(now + LEASE)

-- begin leaves the first attempt of a fingerprint that has no record, in one command, and tells whether it did.
local first_lease = ' ' .. lease_end .. ' ' .. ARGV[3] .. ' ' .. now_text .. ' '
local function begin(key, token, digest)
  local reply = try('SET', key, 'P1 1 ' .. token .. first_lease .. digest .. '\n', 'PX', ARGV[4], 'NX')
  return reply and reply.ok
end

-- write_progress leaves a record in progress; its times are texts. failures: of attempts before this one.
local function write_progress(key, attempt, token, deadline, lease, started, digest, failures)
  return write(key, ARGV[4], 'P1 ' .. int(attempt) .. ' ' .. token .. ' ' .. deadline .. ' ' .. lease .. ' ' ..
    started .. ' ' .. digest .. (failures > 0 and ' ' .. int(failures) or '') .. '\n')
end

-- write_lease leaves one with a new lease.
local function write_lease(key, attempt, token, started, digest, failures)
  return write_progress(key, attempt, token, lease_end, ARGV[3], started, digest, failures)
end

local function write_failed(key, attempt, token, reason, digest, failures)
  return write(key, ARGV[4], 'F1 ' .. int(attempt) .. ' ' .. token .. ' ' .. now_text .. ' ' .. reason ..
    (digest and ' ' .. digest .. (failures > 0 and ' ' .. int(failures) or '') or '') .. '\n')
end

-- ------------------------------------------------------------------------------------------------- operations ----

-- tell answers with a record, if the reply has room for it.
local told = 0
local function tell(value)
  if told > 0 and told + #value > MOST then return { 'done', '' } end
  told = told + #value
  return { 'done', value }
end

local function poisoned(failures)
  if MAX_ATTEMPTS > 0 and failures >= MAX_ATTEMPTS then return { 'poisoned' } end
end

-- look answers for what stands at a key; where a claim would win it also returns the record that stands there.
local function look(key, first)
  local wait = settling()
  if wait then return wait end
  local r, unknown = read(key)
  if unknown then return unknown end

  if r.state == 'nothing' then return { 'free', 'nothing' }, r end
  if r.state == 'F' then return poisoned(r.failures) or { 'free', r.reason or '' }, r end
  if r.state == 'D' then
    if first == '1' then
      count('replayed')
      count('duplicates')
    end
    return tell(r.value)
  end
  if r.deadline <= now then return poisoned(r.failures + 1) or { 'free', 'expired' }, r end -- it crashed
  if r.deadline > now + r.lease then -- the clock was stepped back; the lease lasts its own length, no longer
    r.deadline = now + r.lease
    local refused = write_progress(key, r.attempt, r.token, int(r.deadline), int(r.lease), r.started, r.digest, r.failures)
    if refused then return refused end
  end
  return { 'progress', r.deadline - now, r.digest }, r
end

-- Reasons of a failure that leave no doubt of what became of its execution.
local CERTAIN = { error = true, refused = true, forgotten = true }

local BEGUN = { 'claimed', 1, '' }

local function claim(key, token, first, digest, reject)
  if not settling() and begin(key, token, digest) then -- nearly always
    count('executed')
    return BEGUN
  end
  local answer, r = look(key, first)
  if not r then return answer end

  if r.token == token then
    if r.state == 'F' then return { 'cancelled' } end
    return write_lease(key, r.attempt, token, r.started, digest, r.failures) or { 'claimed', r.attempt, '' }
  end
  if answer[1] ~= 'free' then return answer end
  -- What was begun with one body and may have had its effect is not gone on with another one.
  if reject == '1' and r.digest and r.digest ~= digest and not CERTAIN[r.reason] then return { 'mismatch', r.digest } end
  local attempt = r.attempt + 1
  local refused = write_lease(key, attempt, token, now_text, digest, r.failures + (r.state == 'P' and 1 or 0))
  if refused then return refused end
  count('executed')
  if r.state == 'P' then count('takeovers') end
  return { 'claimed', attempt, r.reason or '' }
end

local function renew(key, attempt, token, digest)
  attempt = tonumber(attempt)
  local r, unknown = read(key)
  if unknown then return unknown end
  if r.token == token then
    if r.state ~= 'P' then return { 'refused', r.value } end -- it has ended: its own end, no lost lease
    return write_lease(key, math.max(r.attempt, attempt), token, r.started, r.digest, r.failures) or { 'renewed' }
  end
  if r.attempt < attempt then
    local refused = write_lease(key, attempt, token, now_text, digest, r.failures or 0)
    if refused then return refused end
    put_back()
    return { 'restored' }
  end
  count('lost_leases')
  return { 'refused', r.value }
end

-- may_end tells whether a result of this attempt may take the place of what another left there.
local function may_end(r, attempt)
  if r.state == 'D' then return r.attempt < attempt end
  return r.attempt <= attempt
end

local STORED = { 'stored' }

local function store(key, attempt, token, ttl, digest, status, kind, result)
  local wait = settling()
  if wait then return wait end
  local r, unknown = read(key, attempt, token)
  if unknown then
    if unknown[1] == 'foreign' then count('lost_stores') end
    return unknown
  end
  local ours = r.token == token
  if ours and r.state == 'D' then return { 'stored' } end
  if ours and r.state == 'F' then return { 'refused', r.value } end
  if not ours and not may_end(r, tonumber(attempt)) then
    count('lost_stores')
    return { 'refused', r.value }
  end
  if ours and r.attempt and r.attempt > tonumber(attempt) then attempt = int(r.attempt) end -- a repeated claim came late
  local refused = write(key, ttl, 'D1 ' .. attempt .. ' ' .. token .. ' ' .. now_text .. ' ' ..
    int(now + ttl) .. ' ' .. digest .. ' ' .. status .. ' ' .. kind .. '\n' .. result)
  if refused then return refused end
  count('stored')
  if ours then return STORED end
  put_back()
  return { 'restored' }
end

local function restore(key, value)
  local known = parse(value)
  if not known or known.state == 'P' then return foreign(value) end
  local done = known.state == 'D'
  if done and known.ends <= now then return { 'expired' } end
  local r, unknown = read(key)
  if unknown then return unknown end
  local ours = r.token == known.token

  if done then
    if ours and r.state == 'D' then return { 'stored' } end
    if ours and r.state == 'F' then return { 'refused', r.value } end
    if not ours and not may_end(r, known.attempt) then return { 'refused', r.value } end
  elseif r.state ~= 'nothing' and r.attempt >= known.attempt then
    return { 'refused', r.value }
  end

  local refused = write(key, done and int(known.ends - now) or ARGV[4], value)
  if refused then return refused end
  if done and ours then -- a store that never got its answer: the execution's end, not a loss of history
    count('stored')
    return { 'stored' }
  end
  put_back()
  return { 'restored' }
end

-- Reasons of a failure that say nothing against a webhook: MAX_ATTEMPTS does not count them.
local BLAMELESS = { refused = true, shutdown = true, unanswered = true, ['lease-lost'] = true }

local function fail(key, attempt, token, reason)
  attempt = tonumber(attempt)
  local r, unknown = read(key)
  if unknown then
    if unknown[1] == 'foreign' and attempt > 0 then count('lost_stores') end
    return unknown
  end
  if r.state == 'nothing' then return write_failed(key, attempt, token, reason) or { 'failed' } end
  if r.token == token then
    if r.state == 'F' then return { 'failed' } end
    if r.state == 'D' then return { 'refused', r.value } end
    local failures = r.failures + (BLAMELESS[reason] and 0 or 1)
    local refused = write_failed(key, r.attempt, token, reason, r.digest, failures)
    if refused then return refused end
    count('failed')
    return { 'failed' }
  end
  if attempt > 0 then count('lost_stores') end -- an execution whose end came too late
  return { 'refused', r.value }
end

local function forget(key, force)
  local wait = settling()
  if wait then return wait end
  local r, unknown = read(key)
  if unknown then return unknown end
  if r.state == 'nothing' then return { 'missing' } end
  if r.state == 'P' and force ~= '1' then return { 'running' } end
  return write_failed(key, r.attempt + 1, FORGOTTEN, 'forgotten') or { 'forgotten' }
end

-- ------------------------------------------------------------------------------------------------------- call ----

local operations = {
  claim = { claim, 4 }, look = { look, 1 }, renew = { renew, 3 }, store = { store, 7 },
  restore = { restore, 1 }, fail = { fail, 3 }, forget = { forget, 1 },
}

local arg = 7

-- A flush is taken once: a repeated one has a number that was taken before.
local taken = 0
local flush, pairs_left = tonumber(ARGV[6]), tonumber(ARGV[7])
if flush > 0 then
  local last = try('GET', FLUSHED)
  local fresh = flush > (type(last) == 'string' and tonumber(last) or 0) -- a foreign value there is no number of ours
  if not refusal(try('SET', FLUSHED, int(flush), 'PX', int(DAY))) then
    taken = 1
    for i = 1, fresh and pairs_left or 0 do
      try('HINCRBY', METRICS, ARGV[arg + 2 * i - 1], ARGV[arg + 2 * i])
    end
  end
end
arg = arg + 2 * pairs_left

local answers = {}
for i = 3, #KEYS do
  local operation = operations[ARGV[arg + 1]]
  local run, arity = operation[1], operation[2]
  answers[i - 2] = run(KEYS[i], unpack(ARGV, arg + 2, arg + 1 + arity))
  arg = arg + 1 + arity
end

local counted = 1
for field, n in pairs(counts) do
  if refusal(try('HINCRBY', METRICS, field, n)) then counted = 0 end
end

return { history, met, now, math.max(settled - now, 0), taken, counted, unpack(answers) }
