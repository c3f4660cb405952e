-- take: decides groups of charges; every limit of a group is charged, or none is.
--
-- KEYS      one for each line of ARGV[3]: the state of a (policy, subject), or an account's generation
-- ARGV[1]   the policies, packed: count, then for each its shape, its number of limits, their tags, the last byte of a state, and the
--           limits: kind, shadow, tag, capacity, a, b, c, d (a..d are the kind's further arguments, in its file)
-- ARGV[2]   "", or the time in microseconds (tests)
-- ARGV[3]   the lines, packed: operation (+ 16 where a group begins), policy (from 0), cost
-- Reply     integers of 8 bytes, packed: the time, then for each group its verdict and, if it is a denial or an allowance, for every
--           limit of it used, wait_us (0: there was room, -1: there never is) and reset_us
--
-- A denial writes nothing. A clock that steps back loosens no limit: each kind sees to that.

-- 0 takes. The charges of a group are all of one operation.
local PEEK, REFUND, GUARD = 1, 2, 3
local LINE, NEW_GROUP = ">BI2d", 16
local LIMIT = ">BBI4ddddd"
local DENIED, ALLOWED, STALE_GENERATION, STALE_BOUNDS, UNREADABLE = 0, 1, 2, 3, 4

local call, attempt, spread = redis.call, redis.pcall, unpack
local unpack, pack = struct.unpack, struct.pack

local policies, packed = {}, ARGV[1]
local count, position = unpack(">I2", packed)
for i = 0, count - 1 do
  local shape, limits, tags = unpack(">I4B", packed, position)
  position = tags + 4 * limits + 1
  local policy = { nil, nil, nil, shape = shape, limits = limits, tags = 0, fields = 0, last = 0, size = 0, to = 0 }
  local fields, at, size = "<I4", SHAPE + 1, 4
  policy.tags = packed:sub(tags, position - 1)
  for j = 1, limits do
    local limit = { unpack(LIMIT, packed, position) }
    local kind = kind_of(limit[TAKE])
    position = limit[AT]
    limit[TAKE] = kind[KIND_TAKE]
    limit[AT] = at
    fields, at, size = fields .. kind[KIND_FORMAT], at + kind[KIND_COUNT], size + kind[KIND_SIZE]
    policy[j] = limit
  end
  policy.fields = fields
  policy.last = at - 1
  policy.size = size
  policy.to = size - 1 .. ""
  policies[i] = policy
end

local time = call("TIME")
local now, ahead = time[1] * 1000000 + time[2], 0
if ARGV[2] ~= "" then
  -- Keys expire by the real clock, which an injected time need not follow: they are given a day more by that.
  ahead = math.ceil(now / 1000) + 86400000
  now = tonumber(ARGV[2])
  ahead = ahead - math.floor(now / 1000)
end

-- What is answered: of the group under way, as if it were charged; beside it, as things stand.
-- (Tables are made in the size that most calls need: growing them is what a call of one decision would spend its time on. And what
-- follows is one piece, as calls and upvalues are what a call of many would.)
local answers, last = { now, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 1
local standing = { 0, 0, 0, 0, 0, 0, 0, 0, 0 }
local states, pushes, expires, lifetime, reply = { nil, nil }, nil, nil, nil, nil

local keys, lines, line = KEYS, #KEYS, 1
packed = ARGV[3]
local operation, index, cost, next_line = unpack(LINE, packed)
while line <= lines do
  local verdict, first, changed, pushed, peeks = ALLOWED, last + 1, 0, 0, false
  last = first

  -- A line of the group: a guard, or a charge, which is decided by itself.
  repeat
    local key = keys[line]
    operation = operation % NEW_GROUP
    if operation == GUARD then
      if tonumber(call("GET", key) or 0) ~= cost then
        verdict = STALE_GENERATION
      end
    else
      local policy = policies[index]
      -- Of a key that holds no string, an error: a table, of no length.
      local head, state = attempt("GETRANGE", key, "0", policy.to), nil
      if #head == policy.size then
        state = { key, policy, false, unpack(policy.fields, head) }
      end
      if not state or state[SHAPE] ~= policy.shape then
        state = make_state()(key, policy)
      end
      if operation == REFUND then
        cost = -cost
      end
      peeks = operation == PEEK

      local limits, longest = policy.limits, 0
      if not state then
        -- What stands there is nobody's state, and stays as it is.
        verdict = verdict > ALLOWED and verdict or UNREADABLE
        limits, cost = 0, 0
      end
      for i = 1, limits do
        local limit = policy[i]
        local used, wait, reset, left, later, past, total = limit[TAKE](limit, state, now, cost)
        if wait ~= 0 then
          -- Staleness outweighs a denial, a denial an allowance. A shadow limit that would have denied is not charged, as if it had.
          left, later = used, reset
          if wait == STALE then
            verdict = STALE_BOUNDS
          elseif limit[SHADOW] == 0 and verdict == ALLOWED then
            verdict = DENIED
          end
        elseif past then
          pushes = pushes or {}
          pushes[pushed + 1], pushes[pushed + 2], pushes[pushed + 3], pushes[pushed + 4] = limit, state, past, total
          pushed = pushed + 4
        end
        local one, two = last + 1, last + 2
        last = last + 3
        standing[one - first] = used
        standing[last - first] = reset
        answers[one] = left
        answers[two] = wait
        answers[last] = later
        if later > longest then
          longest = later
        end
      end
      if cost > 0 or cost < 0 and head ~= "" then
        states[changed + 1] = state
        states[changed + 2] = longest
        changed = changed + 2
      end
    end
    line = line + 1
    if line <= lines then
      operation, index, cost, next_line = unpack(LINE, packed, next_line)
    end
  until line > lines or operation >= NEW_GROUP

  answers[first] = verdict
  if verdict > ALLOWED then
    last = first
  elseif verdict == DENIED or peeks then
    for i = first + 1, last, 3 do
      answers[i], answers[i + 2] = standing[i - first], standing[i + 2 - first]
    end
  else
    -- All of it, or nothing.
    if pushed > 0 then
      ring = ring or make_ring()
      for i = 1, pushed, 4 do
        ring.push(spread(pushes, i, i + 3))
      end
    end
    for i = 1, changed, 2 do
      local state, longest = states[i], states[i + 1]
      local key, policy, body = state[KEY], state[POLICY], state[BODY]
      local head = pack(policy.fields, spread(state, SHAPE, policy.last))
      if longest ~= lifetime then
        -- Rounded up, so never in the past. (To be told how long instead would cost more: Redis tells its replicas and its log until when.)
        lifetime, expires = longest, math.ceil((now + longest) / 1000) + ahead .. ""
      end
      if body then
        call("SET", key, head .. body, "PXAT", expires)
      else
        call("SETRANGE", key, "0", head)
        call("PEXPIREAT", key, expires)
      end
    end
  end

  if last > 900 or line > lines then
    local numbers = pack(">" .. ("i8"):rep(last), spread(answers, 1, last))
    reply, last = reply and reply .. numbers or numbers, 0
  end
end
return reply
