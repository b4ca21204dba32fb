-- The script that a team with nginx would write: finished results in a dictionary that the workers share, one script
-- call to claim and one SET to store. A duplicate of a running webhook is told to come again.
local cjson = require "cjson.safe"
local redis = require "nginx.redis"
local sha256 = require "nginx.sha256"
local to_hex = require("nginx.string").to_hex

local LEASE, RESULT_TTL = 60000, 3600
local PROCESSING = "processing"
local CLAIM = [[
local found = redis.call('GET', KEYS[1])
if found then return found end
redis.call('SET', KEYS[1], 'processing', 'PX', ARGV[1])
return false]]
local CLAIM_SHA = to_hex(ngx.sha1_bin(CLAIM))

local results = ngx.shared.results

local function respond(code, status, data, key)
  local body = '{"status":"' .. status .. '","data":' .. data .. ',"fingerprint":"' .. key .. '"}'
  ngx.status = code
  ngx.header["Content-Length"] = #body
  ngx.print(body)
  return ngx.exit(ngx.OK)
end

local function unavailable(err)
  ngx.log(ngx.ERR, "redis: ", err)
  return ngx.exit(503)
end

local hook = cjson.decode(ngx.req.get_body_data() or "")
if type(hook) ~= "table" or type(hook.dialogId) ~= "string" or type(hook.nodeId) ~= "string" or not hook.sequence then
  return ngx.exit(400)
end
local hash = sha256:new()
hash:update(hook.dialogId .. ":" .. hook.nodeId .. ":" .. string.format("%.0f", hook.sequence))
local key = "cognigy:fp:" .. to_hex(hash:final())

local done = results:get(key)
if done then return respond(200, "cached", done, key) end

local store = redis:new()
store:set_timeout(1000)
local ok, err = store:connect("127.0.0.1", redis_port)
if not ok then return unavailable(err) end
local found
found, err = store:evalsha(CLAIM_SHA, 1, key, LEASE)
if err and err:find("NOSCRIPT", 1, true) then
  found, err = store:eval(CLAIM, 1, key, LEASE)
end
if err then return unavailable(err) end
if found ~= ngx.null then
  store:set_keepalive(60000, 512)
  if found == PROCESSING then return respond(409, "processing", "null", key) end
  results:set(key, found, RESULT_TTL)
  return respond(200, "cached", found, key)
end

if delay > 0 then
  store:set_keepalive(60000, 512)
  ngx.sleep(delay)
  ok, err = store:connect("127.0.0.1", redis_port)
  if not ok then return unavailable(err) end
end
-- The parts in a fixed order, as the others have them; a random number in the timestamp's place tells each execution
-- from every other.
local data = '{"processed":true,"dialogId":' .. cjson.encode(hook.dialogId) .. ',"nodeId":' .. cjson.encode(hook.nodeId)
  .. ',"timestamp":' .. string.format("%.0f", math.random(1000000000, 2147483647))
  .. ',"variables_updated":' .. cjson.encode(hook.variables or {}) .. '}'
ok, err = store:set(key, data, "EX", RESULT_TTL)
if not ok then return unavailable(err) end
store:set_keepalive(60000, 512)
results:set(key, data, RESULT_TTL)
return respond(200, "success", data, key)
