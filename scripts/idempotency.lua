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
-- ARGV[6]    IN_DOUBT: 1 for stop, 0 for execute
-- ARGV[7]    DOUBT_TTL, ms: how long verdicts live and, with stop, every record in progress or in doubt
-- ARGV[8]    number of the counter flush that rides on this call; 0: none
-- ARGV[9]    how many counters it has, then each as field, increment
-- then the operations, each a name and its arguments:
--   claim    token, first, digest, reject, ask
--              first = 1: a request's first look, so that a result found is counted here
--              digest: of the body that would be executed
--              reject = 1: no other body after an attempt in doubt
--              ask = 1: the logic finds out what became of an attempt in doubt before it acts
--   look     first, ask                as claim, but nothing is claimed
--   renew    attempt, token, digest, doubt, failures     doubt and failures as the claim told them
--   store    attempt, token, TTL in ms, state, digest, status, kind, result
--              state: D, or S where the result is sealed
--              kind: content type and headers, as fields of a record; of a sealed result the id of its key
--   restore  record                    a done or failed record, verbatim
--   fail     attempt, token, reason, digest, doubt, failures     as renew; attempt 0: a claim whose reply never came
--   forget   force, attempt            force = 1: also while it runs
--              attempt: nothing but the verdict on this attempt is forgotten; 0: whatever stands
--   resolve  attempt, TTL in ms, state, digest, status, kind, result
--              a person found out what became of the attempt that stands
--
-- Reply: { history ('' if none could be noted), ms it was met, ms now, ms left of settling, flush taken (1) or not (0),
-- transitions counted (1) or not (0: Redis is full), answer 1, answer 2, … }
-- Answers:
--   { 'claimed', attempt, doubt, failures, before }
--                                run it. doubt = 1: an earlier attempt may have had its effect. failures: of attempts
--                                before it. before: how the last one ended, 'expired' after a takeover, '' if none did
--   { 'mismatch', digest }       an attempt in doubt had another body
--   { 'poisoned', record }       a verdict: its executions failed MAX_ATTEMPTS times
--   { 'doubtful', record }       a verdict: an attempt in doubt, with IN_DOUBT=stop
--   { 'free', before }           to a look: a claim would win; before, also 'nothing' or 'expired'
--   { 'progress', ms left, digest }   another one's lease holds
--   { 'done', record }           replay it; past a bound of bytes in one reply the record is '': fetch it by GET
--   { 'cancelled' }              this token was failed before
--   { 'settling', ms left }      decide nothing yet
--   { 'renewed' }, { 'stored' }, { 'forgotten' }, { 'resolved' }
--   { 'failed', record }         what stands now
--   { 'restored' }               it was put back: Redis had less than the caller knew, so it lost its history
--   { 'refused', record }        another attempt stands, or the caller's own has a verdict; to a forget or a resolve:
--                                what it is about does not stand any more
--   { 'expired' }                its end has come
--   { 'missing' }                nothing to forget or to resolve
--   { 'running' }                it is being executed
--   { 'foreign', version }       this version did not write this value; it is left as it is. version: the form of
--                                another version of ours, '' if none of ours wrote it
--   { 'error', text }            Redis refused a command (full, read-only), or the operation broke off: whether it was
--                                done is not known, so it is asked again under its token
--
-- Why it is safe. Attempts of a fingerprint only grow while Redis keeps its history, and a token belongs to one
-- attempt. (A claim that was repeated and came late can give a token a later attempt: then the later one counts.) So an
-- operation that meets a later attempt, or its own attempt done by another, came too late and is refused. An operation
-- that meets less than its caller knows to have been there (nothing, or a lower attempt) proves that history was lost,
-- and puts back what the caller knows. Every operation may be repeated: under the same token it finds its own work,
-- says so, and counts it once. A verdict stands at the attempt that it judges and under its token, so that only the
-- owner of that token may still bring the result. Time is this Redis' own.

local call, try = redis.call, redis.pcall
local KEYS, ARGV, format = KEYS, ARGV, string.format -- a global is looked up anew each time
if ARGV[1] ~= '1' then return redis.error_reply('ERR oncegate: this script takes calls of form 1') end

local METRICS, FLUSHED = KEYS[1], KEYS[2]
local SETTLE, LEASE, TTL, MAX_ATTEMPTS = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local STOP, DOUBT_TTL = ARGV[6] == '1', ARGV[7]
local MOST = 1024 * 1024 -- bytes of records in one reply, but for the first
local MOST_HEAD = 4096 -- bytes of a record's line: a longer one is not ours
local MOST_PAST = 352 -- bytes of it, so that what stands around it has room in the line
local MOST_REPLICA = 40 -- bytes of a replica's name
local CENTURY = 100 * 365 * 24 * 60 * 60 * 1000 -- no lease is longer
local DAY = 24 * 60 * 60 * 1000
local PERSON = '-' -- the token of who forgets or resolves

-- Redis prints large numbers as 1.7e+12; every integer that leaves Lua as text goes through here.
local function int(n)
  return format('%.0f', n)
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

-- The history that was met last, and until when nothing new is decided. If the server has another history, that one is
-- noted, and settling begins.
local history, met, settled, unsettled = '', 0, 0, nil
if SETTLE > 0 then
  local known = call('HMGET', METRICS, 'history', 'met_at', 'settled_at', 'settle')
  local server = string.match(call('INFO', 'replication'), 'master_replid:(%w+)')
  if known[1] == server then
    history, met, settled = known[1], tonumber(known[2]) or 0, tonumber(known[3]) or 0
    -- A clock that was stepped back must not settle for ever: the bound is the writer's.
    if settled > now + 5 * math.min(tonumber(known[4]) or 0, DAY) then settled = 0 end
  else
    unsettled = refusal(try('HSET', METRICS, 'history', server, 'met_at', int(now), 'settled_at', int(now + SETTLE),
      'settle', int(SETTLE)))
    if not unsettled then
      history, met, settled = server, now, now + SETTLE
      count('settlings')
    end
  end
end

local now_text, lease_end = int(now), int(now + LEASE)
local PROGRESS_TTL = STOP and DOUBT_TTL or TTL
local first_lease = ' ' .. lease_end .. ' ' .. ARGV[3] .. ' ' .. now_text .. ' '

local BEGUN, STORED = { 'claimed', 1, 0, 0, '' }, { 'stored' }

-- define makes the operations. Redis runs a script's text anew for each call, and to make some thirty functions costs
-- as much as a claim. Nearly all calls have only claims that find nothing and stores of a first attempt, which are
-- decided without them (at the end).
local function define()
  -- settling returns the answer that claims, stores and forgets get while Redis settles, whatever stands at their
  -- keys. It returns nil otherwise.
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

  -- number returns what digits say, or nil where Lua would not count exactly.
  local function number(digits)
    local n = #digits <= 16 and tonumber(digits)
    return n and n < 2 ^ 53 and n or nil
  end

  -- parse returns a record's head, or nil where no version of ours wrote the value. A sealed result is a done one.
  local function parse(value)
    local state, attempt, token, rest = string.match(value, '^([PDSF])1 (%d+) (%S+) ([^\n]*)\n')
    if not state or #rest > MOST_HEAD or not number(attempt) then return nil end
    local r = { state = state, attempt = tonumber(attempt), token = token, value = value, failures = 0 }
    if state == 'P' then
      local deadline, lease, started, digest, doubt, failures, past =
        string.match(rest, '^(%d+) (%d+) (%d+) (%S+) ([01]) (%d+) (%S+)')
      if not deadline or not is_digest(digest) then return nil end
      r.deadline, r.lease, r.started, r.digest = number(deadline), number(lease), started, digest
      r.doubt, r.failures, r.past = doubt, number(failures), past
      if not (r.deadline and r.lease) or r.lease > CENTURY then return nil end
    elseif state == 'F' then
      local digest, failures, verdict
      r.ended, r.reason, r.started, digest, r.doubt, failures, verdict, r.past =
        string.match(rest, '^(%d+) (%S+) (%d+) (%S+) ([01]) (%d+) (%S+) (%S+)')
      if not r.ended then return nil end
      if is_digest(digest) then r.digest = digest end -- a claim that was never answered, or a forget, may have none
      if verdict ~= '-' then r.verdict = verdict end -- it is the word of an answer
      if not (verdict == '-' or verdict == 'poisoned' or verdict == 'doubtful') then return nil end
      r.failures = number(failures)
    else
      local stored, ends
      stored, ends, r.digest, r.past = string.match(rest, '^(%d+) (%d+) (%S+) %d+ (%S+) ')
      if not ends or not number(ends) then return nil end
      r.state, r.started, r.ended, r.ends = 'D', stored, stored, number(ends)
    end
    if not (number(r.started) and r.failures) or #r.past > MOST_PAST then return nil end
    return r
  end

  local NOTHING = { state = 'nothing', attempt = 0, failures = 0, doubt = '0', past = '-' }

  local function foreign(value)
    return { 'foreign', type(value) == 'string' and string.match(value, '^[PDSF](%d+) ') or '' }
  end

  -- No record is longer: record.MaxValue in Go. What is must not go out in a reply.
  local MAX_VALUE = 67117056

  -- read returns what stands at a key, or nil and the answer that says why that cannot be known.
  local function read(key)
    local value = try('GET', key)
    if not value then return NOTHING end
    if type(value) == 'table' then
      if string.find(value.err, 'WRONGTYPE', 1, true) then return nil, foreign() end
      return nil, refusal(value)
    end
    local r = #value <= MAX_VALUE and parse(value)
    if not r then return nil, foreign(value) end
    return r
  end

  local function write(key, ttl, value)
    return refusal(try('SET', key, value, 'PX', ttl))
  end

  -- An attempt that has ended is kept as a line of the records after it: who had it, when, and how it ended. The last
  -- four are kept.
  local function past_of(r, how, ended)
    if r.attempt == 0 then return r.past end
    local replica = string.sub(string.match(r.token, '^(.-)~') or '-', 1, MOST_REPLICA)
    local line = int(r.attempt) .. ',' .. r.started .. ',' .. ended .. ',' .. how .. ',' .. replica
    local past = r.past == '-' and line or r.past .. ';' .. line
    if #past > MOST_PAST then past = string.match(string.sub(past, -MOST_PAST), ';(.*)$') or '-' end
    return string.match(past, '([^;]*;[^;]*;[^;]*;[^;]*)$') or past
  end

  -- write_progress leaves a record in progress: r's, which is one or gets to be one. Its digest, doubt ('0' or '1'),
  -- failures (of attempts before it), past and started are in r.
  local function write_progress(key, attempt, token, deadline, lease, r)
    return write(key, PROGRESS_TTL, 'P1 ' .. int(attempt) .. ' ' .. token .. ' ' .. deadline .. ' ' .. lease .. ' ' ..
      r.started .. ' ' .. r.digest .. ' ' .. r.doubt .. ' ' .. int(r.failures) .. ' ' .. r.past .. '\n')
  end

  -- write_lease leaves one with a new lease.
  local function write_lease(key, attempt, token, r)
    return write_progress(key, attempt, token, lease_end, ARGV[3], r)
  end

  -- write_failed leaves a failed record and returns its value, or nil and why it could not. r has its started, digest,
  -- doubt, failures, verdict and past.
  local function write_failed(key, attempt, token, reason, r)
    local value = 'F1 ' .. int(attempt) .. ' ' .. token .. ' ' .. (r.ended or now_text) .. ' ' .. reason .. ' ' ..
      (r.started or now_text) .. ' ' .. (r.digest or '-') .. ' ' .. r.doubt .. ' ' .. int(r.failures) .. ' ' ..
      (r.verdict or '-') .. ' ' .. r.past .. '\n'
    local refused = write(key, (r.verdict or STOP and r.doubt == '1') and DOUBT_TTL or TTL, value)
    if refused then return nil, refused end
    return value
  end

  -- ------------------------------------------------------------------------------------------------- operations ----

  -- tell answers with a record, if the reply has room for it.
  local told = 0
  local function tell(value)
    if told > 0 and told + #value > MOST then return { 'done', '' } end
    told = told + #value
    return { 'done', value }
  end

  -- verdict answers for a webhook that is not executed again until a person decides, and writes that down: from then on
  -- the word answers, whatever the caller's settings. It returns nil if the webhook may be executed.
  local function verdict(key, r, ask)
    if r.verdict then -- met again: it lives on
      try('PEXPIRE', key, DOUBT_TTL)
      return { r.verdict, r.value }
    end
    local crashed = r.state == 'P'
    local failures = r.failures + (crashed and 1 or 0)
    local word
    if MAX_ATTEMPTS > 0 and failures >= MAX_ATTEMPTS then
      word = 'poisoned'
    elseif STOP and (crashed or r.doubt == '1') and ask ~= '1' then
      word = 'doubtful'
    else
      return nil
    end
    local value, refused = write_failed(key, r.attempt, r.token, crashed and 'expired' or r.reason, {
      ended = crashed and int(r.deadline) or r.ended, started = r.started, digest = r.digest,
      doubt = crashed and '1' or r.doubt, failures = failures, verdict = word, past = r.past,
    })
    return refused or { word, value }
  end

  -- look answers for what stands at a key. Where a claim would win, or the record is the token's own, it also returns
  -- the record that stands there.
  local function look(key, first, ask, token)
    local wait = settling()
    if wait then return wait end
    local r, unknown = read(key)
    if unknown then return unknown end

    if r.state == 'nothing' then return { 'free', 'nothing' }, r end
    if r.state == 'F' then
      return (r.verdict or r.token ~= token) and verdict(key, r, ask) or { 'free', r.reason }, r
    end
    if r.state == 'D' then
      if first == '1' then
        count('replayed')
        count('duplicates')
      end
      return tell(r.value)
    end
    if r.deadline <= now then -- it crashed
      return r.token ~= token and verdict(key, r, ask) or { 'free', 'expired' }, r
    end
    if r.deadline > now + r.lease then -- the clock was stepped back; the lease lasts its own length, no longer
      r.deadline = now + r.lease
      local refused = write_progress(key, r.attempt, r.token, int(r.deadline), int(r.lease), r)
      if refused then return refused end
    end
    return { 'progress', r.deadline - now, r.digest }, r
  end

  local function claimed(attempt, r, before)
    return { 'claimed', attempt, tonumber(r.doubt), r.failures, before }
  end

  local function claim(key, token, first, digest, reject, ask)
    local answer, r = look(key, first, ask, token)
    if not r then return answer end

    if r.token == token then
      if r.state == 'F' then return r.verdict and answer or { 'cancelled' } end
      r.digest = digest
      return write_lease(key, r.attempt, token, r) or claimed(r.attempt, r, '')
    end
    if answer[1] ~= 'free' then return answer end
    local crashed = r.state == 'P'
    local doubt = crashed and '1' or r.doubt
    -- What was begun with one body and may have had its effect is not gone on with another one.
    if reject == '1' and doubt == '1' and r.digest and r.digest ~= digest then return { 'mismatch', r.digest } end
    local attempt, before = r.attempt + 1, ''
    if r.state ~= 'nothing' then before = crashed and 'expired' or r.reason end
    local begun = {
      started = now_text, digest = digest, doubt = doubt, failures = r.failures + (crashed and 1 or 0),
      past = past_of(r, before, crashed and int(r.deadline) or r.ended or now_text),
    }
    local refused = write_lease(key, attempt, token, begun)
    if refused then return refused end
    count('executed')
    if crashed then count('takeovers') end
    return claimed(attempt, begun, before)
  end

  local function renew(key, attempt, token, digest, doubt, failures)
    attempt = tonumber(attempt)
    local r, unknown = read(key)
    if unknown then return unknown end
    if r.token == token then
      if r.state ~= 'P' then return { 'refused', r.value } end -- it has ended, or a verdict has been passed on it
      return write_lease(key, math.max(r.attempt, attempt), token, r) or { 'renewed' }
    end
    if r.attempt < attempt then
      local refused = write_lease(key, attempt, token,
        { started = now_text, digest = digest, doubt = doubt, failures = tonumber(failures), past = '-' })
      if refused then return refused end
      put_back()
      return { 'restored' }
    end
    count('lost_leases')
    return { 'refused', r.value }
  end

  -- may_end tells whether a result of this attempt and token may take the place of what stands.
  local function may_end(r, attempt, token)
    if r.token == token and token ~= PERSON then -- a real success ends all doubt
      return r.state == 'P' or r.reason == 'expired'
    end
    if r.state == 'D' then return r.attempt < attempt end
    return r.attempt <= attempt
  end

  -- write_result leaves a done record.
  local function write_result(key, state, attempt, token, ttl, digest, status, past, kind, result)
    return write(key, ttl,
      state .. '1 ' .. attempt .. ' ' .. token .. ' ' .. now_text .. ' ' .. int(now + ttl) .. ' ' ..
      digest .. ' ' .. status .. ' ' .. past .. ' ' .. kind .. '\n' .. result)
  end

  local function store(key, attempt, token, ttl, state, digest, status, kind, result)
    local wait = settling()
    if wait then return wait end
    local r, unknown = read(key)
    if unknown then
      if unknown[1] == 'foreign' then count('lost_stores') end
      return unknown
    end
    local ours = r.token == token
    if ours and r.state == 'D' then return STORED end
    if not may_end(r, tonumber(attempt), token) then
      if not ours then count('lost_stores') end
      return { 'refused', r.value }
    end
    if ours and r.attempt > tonumber(attempt) then attempt = int(r.attempt) end -- a repeated claim came late
    local refused = write_result(key, state, attempt, token, ttl, digest, status, ours and r.past or '-', kind, result)
    if refused then return refused end
    count('stored')
    if ours then return STORED end
    put_back()
    return { 'restored' }
  end

  -- may_fail tells whether a failed record may be put back in the place of what stands: of an earlier attempt, or of
  -- the same one before it ended, or before the verdict was passed on it.
  local function may_fail(r, known)
    if r.state == 'nothing' or r.attempt < known.attempt then return true end
    if r.attempt > known.attempt or r.token ~= known.token then return false end
    return r.state == 'P' or r.state == 'F' and known.verdict and not r.verdict
  end

  local function restore(key, value)
    local known = parse(value)
    if not known or known.state == 'P' then return foreign(value) end
    local done = known.state == 'D'
    local ttl = (known.verdict or STOP and known.doubt == '1') and DOUBT_TTL or TTL -- of a failed record
    local ends = known.ends or not known.verdict and known.ended + ttl -- a verdict is prolonged by who meets it
    if ends and ends <= now then return { 'expired' } end
    local r, unknown = read(key)
    if unknown then return unknown end
    local ours = r.token == known.token and known.token ~= PERSON

    if r.value == value or done and ours and r.state == 'D' then return STORED end
    local may = done and may_end(r, known.attempt, known.token) or not done and may_fail(r, known)
    if not may then return { 'refused', r.value } end

    local refused = write(key, done and int(known.ends - now) or ttl, value)
    if refused then return refused end
    if done and ours then -- a store that never got its answer: the execution's end, not a loss of history
      count('stored')
      return STORED
    end
    put_back()
    return { 'restored' }
  end

  -- Reasons of a failure that leave no new doubt of what became of its execution.
  local CERTAIN = { error = true, refused = true, rejected = true, unanswered = true, unstarted = true }
  -- Reasons of a failure that say nothing against a webhook: MAX_ATTEMPTS does not count them.
  local BLAMELESS = {
    refused = true, rejected = true, shutdown = true, unanswered = true, unstarted = true, unasked = true,
    ['lease-lost'] = true,
  }

  local function fail(key, attempt, token, reason, digest, doubt, failures)
    attempt = tonumber(attempt)
    local r, unknown = read(key)
    if unknown then
      if unknown[1] == 'foreign' and attempt > 0 then count('lost_stores') end
      return unknown
    end
    local running = r.state == 'P' and r.token == token
    local ended = r.token == token and r.state == 'F'
    if ended then
      if r.reason == 'expired' then count('failed') end -- a verdict stands, and stays
      return { 'failed', r.value }
    end
    local forgotten = r.state == 'nothing' or r.token ~= token and r.attempt < attempt -- by Redis
    if not running and not forgotten then
      if r.token ~= token and attempt > 0 then count('lost_stores') end -- an execution whose end came too late
      return { 'refused', r.value }
    end
    local told = { attempt = attempt, digest = digest, doubt = doubt, failures = tonumber(failures), past = '-' }
    local known = running and r or told
    local value, refused = write_failed(key, known.attempt, token, reason, {
      started = known.started, digest = known.digest, past = known.past,
      doubt = (known.doubt == '1' or doubt == '1' or not CERTAIN[reason]) and '1' or '0',
      failures = known.failures + (BLAMELESS[reason] and 0 or 1),
    })
    if refused then return refused end
    if running then count('failed') end
    return { 'failed', value }
  end

  local function forget(key, force, attempt)
    local wait = settling()
    if wait then return wait end
    local r, unknown = read(key)
    if unknown then return unknown end
    if r.state == 'nothing' then return { 'missing' } end
    if attempt ~= '0' and not (r.verdict and int(r.attempt) == attempt) then return { 'refused', r.value } end
    if r.state == 'P' and force ~= '1' then return { 'running' } end
    local how = r.state == 'D' and 'done' or r.state == 'P' and 'dropped' or r.reason
    local value, refused = write_failed(key, r.attempt + 1, PERSON, 'forgotten',
      { doubt = '0', failures = 0, past = past_of(r, how, r.ended or now_text) })
    return value and { 'forgotten' } or refused
  end

  local function resolve(key, attempt, ttl, state, digest, status, kind, result)
    local wait = settling()
    if wait then return wait end
    local r, unknown = read(key)
    if unknown then return unknown end
    if r.state == 'nothing' then return { 'missing' } end
    if r.state == 'D' or int(r.attempt) ~= attempt then return { 'refused', r.value } end
    if r.state == 'P' and r.deadline > now then return { 'running' } end
    local how, ended = r.reason, r.ended
    if r.state == 'P' then how, ended = 'expired', int(r.deadline) end
    local past = past_of(r, how, ended)
    local refused = write_result(key, state, int(r.attempt + 1), PERSON, ttl, digest, status, past, kind, result)
    return refused or { 'resolved' }
  end

  return {
    claim = { claim, 5 }, look = { look, 2 }, renew = { renew, 5 }, store = { store, 8 },
    restore = { restore, 1 }, fail = { fail, 6 }, forget = { forget, 2 }, resolve = { resolve, 7 },
  }
end

-- ------------------------------------------------------------------------------------------------------- call ----

local arg = 9

-- A flush is taken once: a repeated one has a number that was taken before.
local taken = 0
local flush, pairs_left = tonumber(ARGV[8]), tonumber(ARGV[9])
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

local operations

-- operate does any operation. One that breaks off (a fault of ours) must not hide what those before it have done.
local function operate(key)
  operations = operations or define()
  local operation = operations[ARGV[arg + 1]]
  if not operation then
    arg = #ARGV
    return { 'error', 'ERR oncegate: no operation of this name: what comes behind it cannot be told apart' }
  end
  local ran, answer = pcall(operation[1], key, unpack(ARGV, arg + 2, arg + 1 + operation[2]))
  arg = arg + 1 + operation[2]
  return ran and answer or { 'error', 'ERR oncegate: ' .. tostring(answer) }
end

local decides = not unsettled and settled <= now
local beginning, type = string.sub, type
local answers, begun, stored = {}, 0, 0
for i = 3, #KEYS do
  local name, answer = ARGV[arg + 1], nil
  if decides and name == 'claim' then -- of a webhook that has no record: one command leaves its first attempt
    local reply = try('SET', KEYS[i], 'P1 1 ' .. ARGV[arg + 2] .. first_lease .. ARGV[arg + 4] .. ' 0 0 -\n',
      'PX', PROGRESS_TTL, 'NX')
    if reply and reply.ok then
      begun, arg, answer = begun + 1, arg + 6, BEGUN
    end
  elseif decides and name == 'store' and ARGV[arg + 2] == '1' then -- of a first attempt that is in progress still
    local token, ttl, state, digest, status, kind, result = unpack(ARGV, arg + 3, arg + 9)
    local value, own = try('GET', KEYS[i]), 'P1 1 ' .. token .. ' '
    if type(value) == 'string' and beginning(value, 1, #own) == own and tonumber(ttl) then
      local reply = try('SET', KEYS[i], state .. '1 1 ' .. token .. ' ' .. now_text .. ' ' .. int(now + ttl) .. ' ' ..
        digest .. ' ' .. status .. ' - ' .. kind .. '\n' .. result, 'PX', ttl)
      if reply and reply.ok then
        stored, arg, answer = stored + 1, arg + 9, STORED
      end
    end
  end
  answers[i - 2] = answer or operate(KEYS[i])
end
if begun > 0 then counts.executed = (counts.executed or 0) + begun end
if stored > 0 then counts.stored = (counts.stored or 0) + stored end

local counted = 1
for field, n in pairs(counts) do
  if refusal(try('HINCRBY', METRICS, field, n)) then counted = 0 end
end

return { history, met, now, math.max(settled - now, 0), taken, counted, unpack(answers) }
