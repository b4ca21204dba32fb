-- The one script on the request path: a list of operations on records, done atomically, with all counters in the
-- same call. docs/design.md has the table of operations and why they are safe; this head has the call.
--
-- KEYS[1]    metrics hash: counters, and in its field history the history of this Redis
-- KEYS[2]    number of the last counter flush of the calling process
-- KEYS[3..]  the record of operation 1, 2, … (a key may be repeated); then, with a trail, its stream
--
-- ARGV[1]    number of this call's form: 1; with a trail "1 <N>", where N is how many transitions it keeps
-- ARGV[2]    SETTLE, ms; 0: no settling, and INFO is not called
-- ARGV[3]    LOCK_TTL, ms: the lease that a claim or a renewal gets
-- ARGV[4]    number of the counter flush in this call; 0: none
-- ARGV[5]    number of classes; a class is the settings that apply to its operations, in two arguments:
--              RESULT_TTL, ms: how long a record lives from its last write
--              "<IN_DOUBT><counters> <DOUBT_TTL> <REJECTED_TTL> <MAX_ATTEMPTS>"
--              IN_DOUBT       1 for stop, 0 for execute
--              counters       a prefix: each transition is counted under this text and its name too; -: there is none
--              DOUBT_TTL      ms: how long verdicts live and, with stop, every record in progress or in doubt
--              REJECTED_TTL   ms: how long a result with a status of 4xx lives
--              MAX_ATTEMPTS   a webhook whose executions failed that often is not executed any more; 0: no limit
-- then, with a flush, its counters: "field increment field increment …"
-- then the operations. The first argument of each begins with its letter and the three digits of its class. A record's
-- fields in it keep the spaces that are around them in the record:
--   claim    c<class><first><reject><ask> <token> <digest>␠
--              first = 1: this is the request's first look, so that a result found is counted here
--              reject = 1: no other body is executed after an attempt in doubt
--              ask = 1: the logic finds out what became of an attempt in doubt before it acts
--              digest: of the body that would be executed
--   look     l<class><first><reject><ask>    like claim, but nothing is claimed
--   renew    r<class> <attempt> <token> <digest> <doubt> <failures>   doubt and failures: as answered to the claim
--   store    s<class><status><state> <attempt> <token> <digest>␠   and two more arguments: kind, result
--              state: D, or S if the result is sealed
--              kind: content type and headers, as fields of a record; of a sealed result the id of its key
--   resolve  v<class><status><state> <attempt> <digest>   and two more: kind, result
--              a person found out what became of the attempt in the record
--   restore  p<class>   and one more: a done or failed record, verbatim
--   fail     f<class> <attempt> <token> <digest or -> <reason> <doubt> <failures>
--              doubt and failures: as in renew; attempt 0: the claim's reply never came
--   forget   x<class> <force> <attempt>
--              force = 1: also while it runs
--              attempt: only the verdict on this attempt is forgotten; 0: any record is
--   tokens   t<class> <µs> <most>   before all claims of a class whose tenant may begin only so many executions
--              µs: until there is one token more
--              most: how many can gather. The key holds them. A claim of the class that begins an execution takes one
--   announce a<class>   writes the time to a key of its own: replicas that track this key learn of a forget
-- With a trail, claim, store and fail have one more argument, the last: a note "<deliveries> <about>" for the trail.
--
-- The trail. The call that makes a transition adds an entry to the stream, with the one field e:
--   "<event> <cause> <status> <ms of its attempt's start> <attempt> <token> <digest> <key> <deliveries> <about>"
-- A field that is unknown or empty is "-", a number 0. A transition that was not written has no entry, and a repeated
-- operation adds none. Once Redis has taken the write it does not refuse the entry for lack of memory; if it refuses
-- the entry for another reason, the entry is left out.
--
-- Reply: a list of
--   history and the ms it was met   '' if no history could be noted
--   ms now
--   ms left of settling
--   flags                           1 if the flush was taken + 2 if the transitions were counted (not if Redis is full)
--   answer 1, answer 2, …           left out if every claim is answered 1, every store 2, and there is nothing else
-- Answers:
--   1                            claimed: run attempt 1, the first one
--   2                            stored
--   3                            renewed
--   { 'claimed', attempt, doubt, failures, before }
--                                run it. doubt = 1: an earlier attempt may have had its effect. failures: of earlier
--                                attempts. before: how the last one ended; 'expired': a takeover; '': there was none
--   { 'mismatch', digest }       an attempt in doubt had another body
--   { 'poisoned', record }       a verdict: its executions failed MAX_ATTEMPTS times
--   { 'doubtful', record }       a verdict: an attempt in doubt, with IN_DOUBT=stop
--   { 'free', before }           to a look: a claim would win; before may also be 'nothing' or 'expired'
--   { 'progress', ms left, digest }   another execution holds the lease
--   { 'done', record }           replay it; once the reply has too many bytes of records it is '': fetch it by GET
--   { 'limited', ms left }       the class has no token left; ms until there is one
--   { 'cancelled' }              this token was failed before
--   { 'settling', ms left }      decide nothing yet
--   { 'forgotten' }, { 'resolved' }, { 'announced' }, { 'counted' } (tokens)
--   { 'failed', record }         the record as it is now
--   { 'restored' }               it was put back: Redis had less than the caller knew, so it lost its history
--   { 'refused', record }        the record holds another attempt, or a verdict on the caller's own; to a forget or a
--                                resolve: the record is no longer the one that was meant
--   { 'expired' }                its end has come
--   { 'missing' }                there is nothing to forget or to resolve
--   { 'running' }                it is being executed
--   { 'foreign', version }       this version did not write this value, and leaves it as it is. version: the form of
--                                another version of ours; '': no version of ours wrote it
--   { 'error', text }            Redis refused a command (full, read-only), or the operation broke off: nobody knows
--                                whether it was done, so the caller repeats it under its token
--
-- Why it is safe. Attempts of a fingerprint only grow while Redis keeps its history, and a token belongs to one
-- attempt. (A repeated claim that came late can give a token a later attempt: then the later one counts.) So an
-- operation came too late, and is refused, if it meets a later attempt, or its own attempt done by another. If it meets
-- less than its caller knows to have been there (nothing, or a lower attempt), history was lost, and the operation puts
-- back what the caller knows. Every operation may be repeated: under the same token it finds its own work, says so, and
-- counts it once. A verdict is stored at the attempt that it judges and under that attempt's token, so that only the
-- owner of the token may still bring the result. Time is this Redis' own.
--
-- Why it is written this way. Redis runs the text anew for each call. Making a function, formatting a number and
-- matching a pattern each cost half as much as a command. So the loop at the end decides the two commonest cases, and
-- uses none of these: a claim of a webhook that has no record, and a store of an attempt that is still in progress.
-- All other cases are in define. It is called when the first operation needs it, and gets its values as arguments: a
-- function that closes over locals costs, each time it is made, as much as all of these.

local call, try, type = redis.call, redis.pcall, type
local KEYS, ARGV = KEYS, ARGV -- a global is looked up anew each time
local byte, find, sub = string.byte, string.find, string.sub
local trail -- how many transitions are kept; nil: there is none
if ARGV[1] ~= '1' then
  trail = string.match(ARGV[1], '^1 (%d+)$')
  if not trail then return redis.error_reply('ERR oncegate: this script takes calls of form 1') end
end

local METRICS = KEYS[1]

local clock = call('TIME')
local now_text = clock[1] .. sub('00000' .. clock[2], -6, -4) -- ms

-- The history that was met last, as "<id> <ms it was met>": the id has 40 digits, the time 13. Until Redis has settled,
-- " <ms when settling ends> <SETTLE>" follows.
local decides, noted, server = true, '', nil
if ARGV[2] ~= '0' then
  noted, server = call('HGET', METRICS, 'history') or '', call('INFO', 'replication')
  decides = #noted == 54 and find(server, 'master_replid:' .. sub(noted, 1, 40), 1, true)
end

-- define makes all operations. noted is the history in the metrics hash, server the one in INFO. The operations enter
-- into counts the transitions to be counted, and into the trail, if there is one, the transitions for people.
local function define(now_text, noted, server, counts, trail)
  local call, try, type = redis.call, redis.pcall, type
  local KEYS, ARGV, format = KEYS, ARGV, string.format
  local find, match, sub = string.find, string.match, string.sub
  local METRICS, SETTLE, LEASE, now = KEYS[1], tonumber(ARGV[2]), ARGV[3], tonumber(now_text)
  local MOST = 1024 * 1024 -- bytes of records in one reply; the first record may have more
  local MOST_HEAD = 4096 -- bytes of a record's line, with its end: a longer one is not ours
  local MOST_PAST = 352 -- bytes of the field past, so that the other fields have room in the line
  local MOST_REPLICA = 40 -- bytes of a replica's name
  local CENTURY = 100 * 365 * 24 * 60 * 60 * 1000 -- no lease and no result is longer
  local DAY = 24 * 60 * 60 * 1000
  local PERSON = '-' -- the token of a person who forgets or resolves
  local STORED, RENEWED = 2, 3

  -- The settings of the operation's class.
  local class, TTL, DOUBT_TTL, REJECTED_TTL, MAX_ATTEMPTS, STOP, COUNTERS

  local function enter(name)
    local at = 6 + 2 * tonumber(name)
    if at >= 6 + 2 * ARGV[5] then error('no class ' .. name) end
    local stop, counters, doubt_ttl, rejected_ttl, most = match(ARGV[at + 1], '^([01])(%S+) (%d+) (%d+) (%d+)')
    class, TTL, DOUBT_TTL, REJECTED_TTL, MAX_ATTEMPTS = name, ARGV[at], doubt_ttl, rejected_ttl, tonumber(most)
    STOP, COUNTERS = stop == '1', counters ~= '-' and counters
  end

  -- int formats an integer. Large numbers would be printed as 1.7e+12, so every integer that leaves Lua as text goes
  -- through here.
  local function int(n)
    return format('%.0f', n)
  end

  local function count(name)
    counts[name] = (counts[name] or 0) + 1
    if COUNTERS then counts[COUNTERS .. name] = (counts[COUNTERS .. name] or 0) + 1 end
  end

  -- trace appends a transition that was written to the trail.
  local function trace(event, cause, status, started, attempt, token, digest, key, note)
    if not trail then return end
    try('XADD', KEYS[#KEYS], 'MAXLEN', '~', trail, '*', 'e', event .. ' ' .. cause .. ' ' .. status .. ' ' .. started ..
      ' ' .. int(attempt) .. ' ' .. token .. ' ' .. (digest or '-') .. ' ' .. key .. ' ' .. (note or '0 -'))
  end

  -- refusal returns the answer to an operation whose write Redis refused (full, read-only, too few replicas), or nil.
  -- Such a write fails its operation and not the call.
  local function refusal(reply)
    if type(reply) == 'table' and reply.err then return { 'error', reply.err } end
  end

  -- --------------------------------------------------------------------------------------------------- history ----

  -- Nothing new is decided until the time in settled. If the server has another history than the one that was noted,
  -- the new one is noted, and settling begins.
  local history, met, settled, unsettled = '', 0, 0, nil
  local function note(tail)
    return refusal(try('HSET', METRICS, 'history', history .. tail))
  end
  local function note_settling()
    return note(' ' .. int(settled) .. ' ' .. int(SETTLE))
  end
  if SETTLE > 0 then
    local id = match(server, 'master_replid:(%w+)') or ''
    local known, since, rest = match(noted, '^(%w+) (%d+)(.*)$')
    if known == id then
      history, met = known .. ' ' .. since, tonumber(since)
      local ends, settle = match(rest, '^ (%d+) (%d+)$')
      settled = tonumber(ends) or 0
      -- If the clock was stepped back, settling must not last for ever: it is bounded by the SETTLE it was begun with.
      if settled > now + 5 * math.min(tonumber(settle) or 0, DAY) then settled = 0 end
      if rest ~= '' and settled <= now then note('') end
    else
      history, met, settled = id .. ' ' .. now_text, now, now + SETTLE
      unsettled = note_settling()
      if unsettled then
        history, settled = '', 0
      else
        count('settlings')
      end
    end
  end

  -- settling returns the answer that claims, stores and forgets get while Redis settles, whatever records there are.
  -- It returns nil otherwise.
  local function settling()
    if unsettled then return unsettled end
    if settled > now then return { 'settling', settled - now } end
  end

  -- put_back prolongs settling, within its bound: if one replica puts something back, others may be about to.
  local function put_back()
    count('restored')
    if settled > now then
      settled = math.min(now + SETTLE, met + 5 * SETTLE)
      note_settling()
    end
  end

  -- ---------------------------------------------------------------------------------------------------- record ----

  -- A digest is 16 bytes as 22 characters of base64url; only two bits of the last character count.
  local function is_digest(text)
    return #text == 22 and find(text, '^[%w_-]+[AQgw]$')
  end

  -- number returns the number that digits stand for, or nil if Lua does not hold it exactly.
  local function number(digits)
    local n = #digits <= 16 and tonumber(digits)
    return n and n < 2 ^ 53 and n or nil
  end

  -- length returns the length of time in ms that digits stand for, or nil if it is above the bound.
  local function length(digits)
    local n = number(digits)
    return n and n <= CENTURY and n or nil
  end

  -- parse returns a record's head, or nil if no version of ours wrote the value. A sealed record counts as done.
  local function parse(value)
    local line = #value > MOST_HEAD and sub(value, 1, MOST_HEAD) or value
    local state, attempt, token, digest, rest = match(line, '^([PDSF])1 (%d+) (%S+) (%S+) ([^\n]*)\n')
    if not state or not number(attempt) then return nil end
    local r = { state = state, attempt = tonumber(attempt), token = token, value = value, failures = 0 }
    if is_digest(digest) then
      r.digest = digest
    elseif state ~= 'F' or digest ~= '-' then -- a claim without a reply, or a forget, may leave no digest
      return nil
    end
    if state == 'P' then
      local renewed, lease, started, doubt, failures, past =
        match(rest, '^(%d+) (%d+) (%d+) ([01]) (%d+) (%S+)')
      if not renewed then return nil end
      r.renewed, r.lease, r.started = number(renewed), length(lease), started
      r.doubt, r.failures, r.past = doubt, number(failures), past
      if not (r.renewed and r.lease) then return nil end
      r.deadline = r.renewed + r.lease
    elseif state == 'F' then
      local failures, verdict
      r.ended, r.reason, r.started, r.doubt, failures, verdict, r.past =
        match(rest, '^(%d+) (%S+) (%d+) ([01]) (%d+) (%S+) (%S+)')
      if not r.ended or not number(r.ended) then return nil end
      if verdict ~= '-' then r.verdict = verdict end -- it becomes the word of an answer
      if not (verdict == '-' or verdict == 'poisoned' or verdict == 'doubtful') then return nil end
      r.failures = number(failures)
    else
      local stored, lives
      stored, lives, r.status, r.past = match(rest, '^(%d+) (%d+) (%d+) (%S+) ')
      if not stored or not number(stored) or not length(lives) then return nil end
      r.state, r.started, r.ended, r.ends = 'D', stored, stored, stored + lives
    end
    if not (number(r.started) and r.failures) or #r.past > MOST_PAST then return nil end
    return r
  end

  local NOTHING = { state = 'nothing', attempt = 0, failures = 0, doubt = '0', past = '-' }

  local function foreign(value)
    return { 'foreign', type(value) == 'string' and match(value, '^[PDSF](%d+) ') or '' }
  end

  -- No record is longer (record.MaxValue in Go). A longer value must not go out in a reply.
  local MAX_VALUE = 67117056

  -- read returns the record at a key, or nil and the answer that says why the record cannot be known.
  local function read(key)
    local value = try('GET', key)
    if not value then return NOTHING end
    if type(value) == 'table' then
      if find(value.err, 'WRONGTYPE', 1, true) then return nil, foreign() end
      return nil, refusal(value)
    end
    local r = #value <= MAX_VALUE and parse(value)
    if not r then return nil, foreign(value) end
    return r
  end

  local function write(key, ttl, value)
    return refusal(try('SET', key, value, 'PX', ttl))
  end

  -- past_of returns the field past of the next attempt's record. It keeps of each of the last four attempts which
  -- replica had it, when, and how it ended.
  local function past_of(r, how, ended)
    if r.attempt == 0 then return r.past end
    local replica = sub(match(r.token, '^(.-)~') or '-', 1, MOST_REPLICA)
    local line = int(r.attempt) .. ',' .. r.started .. ',' .. ended .. ',' .. how .. ',' .. replica
    local past = r.past == '-' and line or r.past .. ';' .. line
    if #past > MOST_PAST then past = match(sub(past, -MOST_PAST), ';(.*)$') or '-' end
    return match(past, '([^;]*;[^;]*;[^;]*;[^;]*)$') or past
  end

  -- write_progress writes a record in progress. Its digest, doubt ('0' or '1'), failures (of earlier attempts), past
  -- and started are those of r, which may be a record in progress or another one. The lease is in ms and runs from
  -- renewed.
  local function write_progress(key, attempt, token, renewed, lease, r)
    return write(key, STOP and DOUBT_TTL or TTL, 'P1 ' .. int(attempt) .. ' ' .. token .. ' ' .. r.digest .. ' ' ..
      renewed .. ' ' .. lease .. ' ' .. r.started .. ' ' .. r.doubt .. ' ' .. int(r.failures) .. ' ' .. r.past .. '\n')
  end

  -- write_lease writes a record in progress with a new lease.
  local function write_lease(key, attempt, token, r)
    return write_progress(key, attempt, token, now_text, LEASE, r)
  end

  -- write_failed writes a failed record and returns its value, or nil and the answer that says why it could not. r has
  -- its started, digest, doubt, failures, verdict and past.
  local function write_failed(key, attempt, token, reason, r)
    local value = 'F1 ' .. int(attempt) .. ' ' .. token .. ' ' .. (r.digest or '-') .. ' ' .. (r.ended or now_text) ..
      ' ' .. reason .. ' ' .. (r.started or now_text) .. ' ' .. r.doubt .. ' ' .. int(r.failures) .. ' ' ..
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

  -- verdict returns the answer for a webhook that is not executed again until a person decides, and writes the verdict:
  -- from then on it answers, whatever the caller's settings. verdict returns nil if the webhook may be executed.
  local function verdict(key, r, ask)
    if r.verdict then -- each delivery that meets a verdict prolongs it
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
    local reason = crashed and 'expired' or r.reason
    local value, refused = write_failed(key, r.attempt, r.token, reason, {
      ended = crashed and int(r.deadline) or r.ended, started = r.started, digest = r.digest,
      doubt = crashed and '1' or r.doubt, failures = failures, verdict = word, past = r.past,
    })
    if refused then return refused end
    trace(word, reason, 0, r.started, r.attempt, r.token, r.digest, key)
    return { word, value }
  end

  -- look returns the answer for the record at a key. If a claim would win, or the record has this token, it also
  -- returns the record.
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
    if r.deadline > now + r.lease then -- the clock was stepped back: the lease is cut to its own length
      r.deadline = now + r.lease
      local refused = write_progress(key, r.attempt, r.token, now_text, int(r.lease), r)
      if refused then return refused end
    end
    return { 'progress', r.deadline - now, r.digest }, r
  end

  local function look_only(key, first, ask)
    return (look(key, first, ask))
  end

  -- tokens reads the tokens of a class, "<how many> <ms when that was>". Without a value there are as many as allowed.
  -- A clock that goes back adds none. Two classes may share a key while a tenant's settings change.
  local buckets, opened = {}, {}
  local function tokens(key, every, most)
    if opened[key] then
      buckets[class] = opened[key]
      return { 'counted' }
    end
    every, most = tonumber(every) / 1000, tonumber(most)
    local value = try('GET', key)
    local have, at = match(type(value) == 'string' and value or '', '^(%d+%.?%d*) (%d+)$')
    local gained = math.max(now - (tonumber(at) or now), 0) / every
    have = math.min(most, math.max(tonumber(have) or most, 0) + gained)
    opened[key] = { every = every, most = most, have = have }
    buckets[class] = opened[key]
    return { 'counted' }
  end

  -- spend writes down the tokens that were taken. A full number of tokens needs no value.
  local function spend()
    for key, b in pairs(opened) do
      if b.taken then
        try('SET', key, format('%.6f ', b.have) .. now_text, 'PX', int(math.ceil((b.most - b.have) * b.every)))
      end
    end
  end

  local function claimed(attempt, r, before)
    return { 'claimed', attempt, tonumber(r.doubt), r.failures, before }
  end

  local function claim(key, first, reject, ask, token, digest, note)
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
    -- After an attempt that may have had its effect, no other body is executed.
    if reject == '1' and doubt == '1' and r.digest and r.digest ~= digest then return { 'mismatch', r.digest } end
    local attempt, before = r.attempt + 1, ''
    if r.state ~= 'nothing' then before = crashed and 'expired' or r.reason end
    local begun = {
      started = now_text, digest = digest, doubt = doubt, failures = r.failures + (crashed and 1 or 0),
      past = past_of(r, before, crashed and int(r.deadline) or r.ended or now_text),
    }
    local bucket = buckets[class]
    if bucket and bucket.have < 1 then
      return { 'limited', math.ceil((1 - bucket.have) * bucket.every) }
    end
    local refused = write_lease(key, attempt, token, begun)
    if refused then return refused end
    if bucket then bucket.have, bucket.taken = bucket.have - 1, true end
    count('executed')
    if crashed then count('takeovers') end
    trace(crashed and 'takeover' or 'claimed', before == '' and '-' or before, 0, now_text, attempt, token, digest, key,
      note)
    return claimed(attempt, begun, before)
  end

  local function renew(key, attempt, token, digest, doubt, failures)
    attempt = tonumber(attempt)
    local r, unknown = read(key)
    if unknown then return unknown end
    if r.token == token then
      if r.state ~= 'P' then return { 'refused', r.value } end -- it has ended, or a verdict has been passed on it
      return write_lease(key, math.max(r.attempt, attempt), token, r) or RENEWED
    end
    if r.attempt < attempt then
      local refused = write_lease(key, attempt, token,
        { started = now_text, digest = digest, doubt = doubt, failures = tonumber(failures), past = '-' })
      if refused then return refused end
      put_back()
      trace('restored', '-', 0, now_text, attempt, token, digest, key)
      return { 'restored' }
    end
    count('lost_leases')
    return { 'refused', r.value }
  end

  -- may_end reports whether a result of this attempt and token may replace the record r.
  local function may_end(r, attempt, token)
    if r.token == token and token ~= PERSON then -- a real success ends all doubt
      return r.state == 'P' or r.reason == 'expired'
    end
    if r.state == 'D' then return r.attempt < attempt end
    return r.attempt <= attempt
  end

  -- write_result writes a done record. A final refusal (4xx) lives for REJECTED_TTL, other results for RESULT_TTL.
  local function write_result(key, state, attempt, token, digest, status, past, kind, result)
    local lives = sub(status, 1, 1) == '4' and REJECTED_TTL or TTL
    return write(key, lives, state .. '1 ' .. attempt .. ' ' .. token .. ' ' .. digest .. ' ' .. now_text .. ' ' ..
      lives .. ' ' .. status .. ' ' .. past .. ' ' .. kind .. '\n' .. result)
  end

  -- trace_result appends the end of an execution that has a result to the trail.
  local function trace_result(status, started, attempt, token, digest, key, note)
    trace(sub(status, 1, 1) == '4' and 'rejected' or 'stored', '-', status, started, attempt, token, digest, key, note)
  end

  local function store(key, status, state, attempt, token, digest, kind, result, note)
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
    local refused = write_result(key, state, attempt, token, digest, status, ours and r.past or '-', kind, result)
    if refused then return refused end
    count('stored')
    trace_result(status, ours and r.started or 0, tonumber(attempt), token, digest, key, note)
    if ours then return STORED end
    put_back()
    return { 'restored' }
  end

  -- may_fail reports whether a failed record may be put back in place of the record r. It may if r is of an earlier
  -- attempt, or of the same one before it ended or before the verdict was passed on it.
  local function may_fail(r, known)
    if r.state == 'nothing' or r.attempt < known.attempt then return true end
    if r.attempt > known.attempt or r.token ~= known.token then return false end
    return r.state == 'P' or r.state == 'F' and known.verdict and not r.verdict
  end

  local function restore(key, _, value)
    local known = parse(value)
    if not known or known.state == 'P' then return foreign(value) end
    local done = known.state == 'D'
    local ttl = (known.verdict or STOP and known.doubt == '1') and DOUBT_TTL or TTL -- of a failed record
    local ends = known.ends or not known.verdict and known.ended + ttl -- each delivery that meets a verdict prolongs it
    if ends and ends <= now then return { 'expired' } end
    local r, unknown = read(key)
    if unknown then return unknown end
    local ours = r.token == known.token and known.token ~= PERSON

    if r.value == value or done and ours and r.state == 'D' then return STORED end
    local may = done and may_end(r, known.attempt, known.token) or not done and may_fail(r, known)
    if not may then return { 'refused', r.value } end

    local refused = write(key, done and int(known.ends - now) or ttl, value)
    if refused then return refused end
    if done and ours then -- the store never got its answer: this is the execution's end, and no loss of history
      count('stored')
      trace_result(known.status, r.started, known.attempt, known.token, known.digest, key)
      return STORED
    end
    put_back()
    trace('restored', known.reason or '-', known.status or 0, done and 0 or known.started, known.attempt, known.token,
      known.digest, key)
    return { 'restored' }
  end

  -- Reasons of a failure that leave no new doubt about what the execution did.
  local CERTAIN = { error = true, refused = true, rejected = true, unanswered = true, unstarted = true }
  -- Reasons of a failure that say nothing against a webhook: MAX_ATTEMPTS does not count them.
  local BLAMELESS = {
    refused = true, rejected = true, shutdown = true, unanswered = true, unstarted = true, unasked = true,
    ['lease-lost'] = true,
  }

  local function fail(key, attempt, token, digest, reason, doubt, failures, note)
    attempt = tonumber(attempt)
    local r, unknown = read(key)
    if unknown then
      if unknown[1] == 'foreign' and attempt > 0 then count('lost_stores') end
      return unknown
    end
    local running = r.state == 'P' and r.token == token
    local ended = r.token == token and r.state == 'F'
    if ended then
      if r.reason == 'expired' then count('failed') end -- the record has a verdict, which stays
      return { 'failed', r.value }
    end
    local forgotten = r.state == 'nothing' or r.token ~= token and r.attempt < attempt -- Redis lost the record
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
    if known.attempt > 0 then -- otherwise there was no execution
      trace(reason == 'rejected' and reason or 'failed', reason, 0, known.started or 0, known.attempt, token,
        known.digest, key, note)
    end
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
    if not value then return refused end
    trace('forgotten', how, 0, 0, r.attempt, PERSON, r.digest, key)
    return { 'forgotten' }
  end

  local function resolve(key, status, state, attempt, digest, kind, result)
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
    local refused = write_result(key, state, int(r.attempt + 1), PERSON, digest, status, past, kind, result)
    if refused then return refused end
    trace('resolved', how, status, 0, r.attempt, PERSON, digest, key)
    return { 'resolved' }
  end

  local function announce(key)
    return refusal(try('SET', key, now_text, 'PX', DAY)) or { 'announced' }
  end

  -- Each operation: its function, the form of its first argument after the class, and how many arguments follow.
  local note = trail and 1 or 0
  local operations = {
    c = { claim, '^(%d)(%d)(%d) (%S+) (%S+) $', note },
    l = { look_only, '^(%d)%d(%d)$', 0 },
    r = { renew, '^ (%d+) (%S+) (%S+) (%d) (%d+)$', 0 },
    s = { store, '^(%d%d%d)(%u) (%d+) (%S+) (%S+) $', 2 + note },
    v = { resolve, '^(%d%d%d)(%u) (%d+) (%S+)$', 2 },
    p = { restore, '^$', 1 },
    f = { fail, '^ (%d+) (%S+) (%S+) (%S+) (%d) (%d+)$', note },
    x = { forget, '^ (%d) (%d+)$', 0 },
    t = { tokens, '^ (%d+) (%d+)$', 0 },
    a = { announce, '^$', 0 },
  }

  -- operate does the operation whose arguments begin at index at. It returns the answer, and the index at which the
  -- next operation's arguments begin. An operation that breaks off (a fault of ours) must not hide what earlier ones
  -- did.
  local function operate(key, at)
    local letter, name, fields = match(ARGV[at] or '', '^(%l)(%d%d%d)(.*)$')
    local operation = operations[letter or '']
    if not operation then
      return { 'error', 'ERR oncegate: no such operation: what comes behind it cannot be told apart' }, #ARGV + 1
    end
    local does, pattern, more = unpack(operation)
    local ran, answer = pcall(function()
      if name ~= class then enter(name) end
      local given = { match(fields, pattern) }
      if not given[1] then return { 'error', 'ERR oncegate: no such arguments: ' .. fields } end
      for i = at + 1, at + more do given[#given + 1] = ARGV[i] end
      return does(key, unpack(given))
    end)
    return ran and answer or { 'error', 'ERR oncegate: ' .. tostring(answer) }, at + 1 + more
  end

  -- history_now returns the history after the operations so far, and how long Redis still settles.
  local function history_now()
    return history, math.max(settled - now, 0)
  end

  return operate, history_now, spend
end

-- ------------------------------------------------------------------------------------------------------- call ----

local behind_classes = 6 + 2 * ARGV[5]
local arg = behind_classes -- of the next operation

-- A flush is taken once: if it is sent again, its number is not above the last one taken.
local flags = 2
if ARGV[4] ~= '0' then
  local last = try('GET', KEYS[2])
  -- A foreign value at that key counts as 0.
  local fresh = tonumber(ARGV[4]) > (type(last) == 'string' and tonumber(last) or 0)
  local reply = try('SET', KEYS[2], ARGV[4], 'PX', 24 * 60 * 60 * 1000)
  if reply.ok then
    flags = 3
    for field, n in string.gmatch(fresh and ARGV[arg] or '', '(%S+) (%S+)') do
      try('HINCRBY', METRICS, field, n)
    end
  end
  arg = arg + 1
end

local operate, history_now, spend, counts, throttled
local history, left = noted, 0
if not decides then -- Redis settles, or has another history
  counts = {}
  operate, history_now, spend = define(now_text, noted, server, counts, trail)
  history, left = history_now()
  decides = history ~= '' and left == 0
end

local first_lease = now_text .. ' ' .. ARGV[3] .. ' ' .. now_text .. ' 0 0 -\n'
local class, ttl, settings, stop, prefixed
local answers, others, begun, stored = {}, false, 0, 0
local records, note = #KEYS, 0
if trail then records, note = #KEYS - 1, 1 end
for i = 3, records do
  local head, answer = ARGV[arg] or '', nil
  local letter, c1, c2, c3 = byte(head, 1, 4)
  if letter == 116 then -- t
    throttled = throttled or {}
    throttled[sub(head, 2, 4)] = true
  elseif decides and c3 and (letter == 99 or letter == 115) then -- c, s
    local at = 2 * (100 * c1 + 10 * c2 + c3 - 111 * 48) + 6
    if at ~= class then
      class, ttl, settings = at, ARGV[at], at < behind_classes and ARGV[at + 1] or ''
      stop, prefixed = byte(settings, 1, 2)
    end
    local name, event
    if letter == 99 and throttled and throttled[sub(head, 2, 4)] then
      name = nil -- define's claim takes a token for it
    elseif stop and letter == 99 then -- a webhook without a record: one command writes its first attempt
      local reply = try('SET', KEYS[i], 'P1 1' .. sub(head, 8) .. first_lease,
        'PX', stop == 48 and ttl or string.match(settings, ' (%d+)'), 'NX')
      if reply and reply.ok then
        if trail then event = 'claimed - 0 ' .. now_text .. ' 1' .. sub(head, 8) end
        begun, arg, answer, name = begun + 1, arg + 1 + note, 1, 'executed'
      end
    elseif stop then -- a store of an attempt that is still in progress, and is the first one
      local value, fields = try('GET', KEYS[i]), sub(head, 9)
      if type(value) == 'string' and byte(value) == 80 and #value > #fields + 2 and #value <= 4096 and
        find(value, fields, 3, true) == 3 and sub(value, -3) == ' -\n' then
        local lives = byte(head, 5) == 52 and string.match(settings, ' %d+ (%d+)') or ttl
        local reply = try('SET', KEYS[i], sub(head, 8, 8) .. '1' .. fields .. now_text .. ' ' .. lives .. ' ' ..
          sub(head, 5, 7) .. ' - ' .. ARGV[arg + 1] .. '\n' .. ARGV[arg + 2], 'PX', lives)
        if reply and reply.ok then
          if trail then
            event = (byte(head, 5) == 52 and 'rejected' or 'stored') .. ' - ' .. sub(head, 5, 7) .. ' ' ..
              string.match(value, '^%d+ %d+ (%d+)', #fields + 3) .. fields
          end
          stored, arg, answer, name = stored + 1, arg + 3 + note, 2, 'stored'
        end
      end
    end
    if event then
      try('XADD', KEYS[#KEYS], 'MAXLEN', '~', trail, '*', 'e', event .. KEYS[i] .. ' ' .. ARGV[arg - 1])
    end
    if name and prefixed ~= 45 then -- -
      counts, name = counts or {}, string.match(settings, '^.(%S+)') .. name
      counts[name] = (counts[name] or 0) + 1
    end
  end
  if not answer then
    if not operate then
      counts = counts or {}
      operate, history_now, spend = define(now_text, noted, server, counts, trail)
    end
    answer, arg = operate(KEYS[i], arg)
    others = true
  end
  answers[i - 2] = answer
end

if begun > 0 and type(try('HINCRBY', METRICS, 'executed', begun)) == 'table' then flags = flags % 2 end
if stored > 0 and type(try('HINCRBY', METRICS, 'stored', stored)) == 'table' then flags = flags % 2 end
if counts then
  for field, n in pairs(counts) do
    if type(try('HINCRBY', METRICS, field, n)) == 'table' then flags = flags % 2 end
  end
end
if throttled then spend() end
if history_now then history, left = history_now() end
if others then return { history, now_text, left, flags, unpack(answers) } end
return { history, now_text, left, flags }
