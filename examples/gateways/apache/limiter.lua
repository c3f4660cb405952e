-- Asks the sidecar about a request. A refusal is returned to the client. The headers of an allowed request are added to the response.

local socket = require("socket")

local HOST, PORT = "127.0.0.1", 8080
-- Seconds. The sidecar answers within its own deadline, 50 ms by default.
local CONNECT_S, ANSWER_S = 0.25, 1
-- Shorter than `connections.idle` of the sidecar, 75 s by default.
local IDLE_S = 60
local NUMBERS = { "ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset" }
-- With `caller_headers`: who calls, for the API.
local CALLER = { "x-limiter-account", "x-limiter-key", "x-limiter-tier", "x-limiter-signature" }
-- The credential, and what `cors` needs.
local SENT = { "Authorization", "X-API-Key", "Origin", "Access-Control-Request-Method" }
-- These belong to the connection between Apache and the sidecar, or Apache sets them itself.
local DROPPED = { ["connection"] = true, ["content-length"] = true, ["content-type"] = true, ["date"] = true }
local UNAVAILABLE = '{"type": "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity", '
  .. '"title": "Service Unavailable", "status": 503}'

-- Of this thread, between requests.
local kept, kept_since

local function connection()
  local open, since = kept, kept_since
  kept = nil
  if open then
    -- An idle connection has nothing to read, unless the sidecar has closed it.
    open:settimeout(0)
    local _, state = open:receive(1)
    if state == "timeout" and socket.gettime() - since < IDLE_S then
      return open
    end
    open:close()
  end
  open = socket.tcp()
  open:settimeout(CONNECT_S)
  local connected, problem = open:connect(HOST, PORT)
  if not connected then
    open:close()
    return nil, problem
  end
  open:setoption("tcp-nodelay", true)
  return open
end

-- Only these headers are sent, so a client cannot add to them. Apache's request line and header values contain no line breaks.
local function question(r)
  local lines = {
    "GET /authorize HTTP/1.1",
    "Host: limiter",
    "X-Forwarded-Method: " .. r.method,
    "X-Forwarded-Uri: " .. r.unparsed_uri,
    "X-Forwarded-For: " .. r.useragent_ip,
    "X-Forwarded-Proto: " .. (r.is_https and "https" or "http"),
  }
  for _, name in ipairs(SENT) do
    local value = r.headers_in[name]
    if value then
      lines[#lines + 1] = name .. ": " .. value
    end
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

-- Reads before the deadline. LuaSocket's own time-out is that of one call.
local function receive(open, what, deadline)
  open:settimeout(math.max(0, deadline - socket.gettime()))
  return open:receive(what)
end

local function head(open, deadline)
  local line, problem = receive(open, "*l", deadline)
  local status = line and tonumber(line:match("^HTTP/1%.1 (%d%d%d)"))
  if not status then
    return nil, problem or "not an answer"
  end
  local headers = {}
  while true do
    line, problem = receive(open, "*l", deadline)
    if not line then
      return nil, problem
    elseif line == "" then
      return status, headers
    end
    local name, value = line:match("^([^:]+):%s*(.-)%s*$")
    if name then
      headers[name:lower()] = value
    end
  end
end

local function exchange(open, sent, deadline)
  open:settimeout(ANSWER_S)
  local done, problem = open:send(sent)
  if not done then
    return nil, problem
  end
  local status, headers = head(open, deadline)
  if not status then
    return nil, headers
  end
  local length, body = tonumber(headers["content-length"]) or 0, ""
  if length > 0 then
    body, problem = receive(open, length, deadline)
  end
  if not body then
    return nil, problem
  end
  return status, headers, body
end

-- The sidecar's status, headers and body, or nil and the reason. A question is never repeated, because it may be charged already.
local function ask(r)
  local open, problem = connection()
  if not open then
    return nil, problem
  end
  local status, headers, body = exchange(open, question(r), socket.gettime() + ANSWER_S)
  if status and headers["connection"] ~= "close" then
    kept, kept_since = open, socket.gettime()
  else
    open:close()
  end
  return status, headers, body
end

local function refuse(r, status, headers, body)
  r.status = status
  r.content_type = "application/problem+json"
  for name, value in pairs(headers) do
    if not DROPPED[name] then
      r.err_headers_out[name] = value
    end
  end
  r:puts(body)
  return apache2.DONE
end

-- What the client sends under the names of `caller_headers`.
local function forget_caller(r)
  for name in pairs(r:headers_in_table()) do
    if name:lower():find("^x%Wlimiter") then
      r.headers_in[name] = nil
    end
  end
  -- Apache drops the headers that a client lists in `Connection`.
  local listed = r.headers_in["Connection"]
  if listed then
    r.headers_in["Connection"] = listed:gsub("[^,]+", function(name)
      return name:lower():find("x-limiter", 1, true) and ""
    end)
  end
end

local function judge(r, unanswered)
  forget_caller(r)
  local status, headers, body = ask(r)
  if not status then
    r:warn("the sidecar does not answer: " .. tostring(headers))
    return unanswered(r)
  elseif status ~= 200 then
    return refuse(r, status, headers, body)
  end
  for _, name in ipairs(NUMBERS) do
    if headers[name] then
      r.err_headers_out[name] = headers[name]
    end
  end
  for _, name in ipairs(CALLER) do
    if headers[name] then
      r.headers_in[name] = headers[name]
    end
  end
  return apache2.OK
end

function authorize(r)
  return judge(r, function()
    return refuse(r, 503, { ["retry-after"] = "1", ["cache-control"] = "no-store" }, UNAVAILABLE)
  end)
end

function authorize_or_pass(r)
  return judge(r, function()
    return apache2.OK
  end)
end
