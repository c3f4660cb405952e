-- Asks the sidecar about a request. A refusal is returned to the client. The headers of an allowed request go into variables of the
-- transaction: X-RateLimit-Limit into txn.x_ratelimit_limit.

-- Longer than the time-outs of the proxy `limiter`, which then answers 503 or 504 itself.
local TIMEOUT_MS = 2000
local COPIED = { "ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset" }
-- With `caller_headers`: who calls, for the API.
local CALLER = { "x-limiter-account", "x-limiter-key", "x-limiter-tier", "x-limiter-signature" }
-- The credential, and what `cors` needs.
local SENT = { "authorization", "x-api-key", "origin", "access-control-request-method" }
local UNANSWERED = "x-limiter-unanswered"
-- These belong to the connection between HAProxy and the sidecar.
local DROPPED = { ["connection"] = true, ["content-length"] = true, ["date"] = true, ["transfer-encoding"] = true }

local UNAVAILABLE = {
  status = 503,
  headers = {
    ["content-type"] = { [0] = "application/problem+json" },
    ["retry-after"] = { [0] = "1" },
    ["cache-control"] = { [0] = "no-store" },
  },
  body = '{"type": "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity", '
    .. '"title": "Service Unavailable", "status": 503}',
}

-- HAProxy numbers the values of a header from 0.
local function list(values)
  local lines = {}
  for place, value in pairs(values or {}) do
    lines[place + 1] = value
  end
  return lines
end

-- Only these headers are sent, so a client cannot add to them.
local function question(txn)
  local received = txn.http:req_get_headers()
  local headers = {
    ["x-forwarded-method"] = { txn.sf:method() },
    ["x-forwarded-uri"] = { txn.sf:pathq() },
    ["x-forwarded-for"] = { txn.sf:src() },
    ["x-forwarded-proto"] = { txn.sf:ssl_fc() == "1" and "https" or "http" },
    -- On a connection that is used again, HAProxy drops a request that the sidecar does not answer, so that its client repeats it.
    ["connection"] = { "close" },
  }
  for _, name in ipairs(SENT) do
    if received[name] then
      headers[name] = list(received[name])
    end
  end
  return headers
end

local function refuse(txn, answer)
  local reply = txn:reply({ status = answer.status })
  for name, values in pairs(answer.headers or {}) do
    if not DROPPED[name] then
      for _, value in ipairs(list(values)) do
        reply:add_header(name, value)
      end
    end
  end
  reply:set_body(answer.body or "")
  txn:done(reply)
end

local function ask(txn)
  local client = core.httpclient()
  return client:get({ url = "http://limiter/authorize", dst = "abns@limiter", headers = question(txn), timeout = TIMEOUT_MS })
end

local function authorize(txn, unanswered)
  local answer = ask(txn)
  if answer.status == 200 then
    for _, name in ipairs(COPIED) do
      if answer.headers[name] then
        txn:set_var("txn." .. name:gsub("-", "_"), answer.headers[name][0])
      end
    end
    for _, name in ipairs(CALLER) do
      if answer.headers[name] then
        txn.http:req_set_header(name, answer.headers[name][0])
      end
    end
  elseif answer.headers and answer.headers[UNANSWERED] then
    unanswered(txn)
  elseif answer.headers and answer.headers["content-type"] then
    refuse(txn, answer)
  else
    -- HAProxy could not ask. A client may cause that with a request that is too large, so it never lets the request pass.
    refuse(txn, UNAVAILABLE)
  end
end

core.register_action("limiter", { "http-req" }, function(txn)
  authorize(txn, function()
    refuse(txn, UNAVAILABLE)
  end)
end, 0)

core.register_action("limiter_or_pass", { "http-req" }, function(txn)
  authorize(txn, function() end)
end, 0)
