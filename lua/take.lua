-- take: decides groups of charges; every limit of a group is charged, or none is.
--
-- KEYS      one for each line of ARGV[3]: the state of a (policy, subject), or an account's generation
-- ARGV[1]   the policies, packed: count, then for each its shape, its number of limits, their tags, that number again, and the limits:
--           kind, shadow, tag, capacity, a, b, c, d (a..d are the kind's further arguments, in its file)
-- ARGV[2]   "", or the time in microseconds (tests)
-- ARGV[3]   the lines, packed: operation (+ 16 where a group begins), policy (from 0), cost
-- Reply     integers: the time, then for each group its verdict and, unless that is stale, for every limit of it used, wait_us (-1: never)
--           and reset_us
--
-- A denial writes nothing. A clock that steps back loosens no limit: each kind sees to that.

local TAKE, PEEK, REFUND, GUARD = 0, 1, 2, 3
local LINE, NEW_GROUP = ">BI2I8", 16
local LIMIT = ">BBI4I8I8I8I8I8"
local DENIED, ALLOWED, STALE_GENERATION, STALE_BOUNDS = 0, 1, 2, 3

local function read_policies(packed)
  local policies = {}
  local count, position = unpack(">I2", packed)
  for i = 0, count - 1 do
    local shape, limits, head = unpack(">I4B", packed, position)
    local tags = head + 4 * limits
    local policy = { shape = shape, head = sub(packed, position, position + 3), tags = sub(packed, head, tags), nil, nil, nil }
    position = tags + 1
    for j = 1, limits do
      local kind, shadow, tag, capacity, a, b, c, d, after = unpack(LIMIT, packed, position)
      policy[j] = { kind = kind_of(kind), shadow = shadow == 1, tag = tag, capacity = capacity, a = a, b = b, c = c, d = d }
      position = after
    end
    policies[i] = policy
  end
  return policies
end

local policies = read_policies(ARGV[1])
local time = call("TIME")
local now, ahead = time[1] * 1000000 + time[2], 0
if ARGV[2] ~= "" then
  -- Keys expire by the real clock, which an injected time need not follow: they are given a day more by that.
  ahead = ceil(now / 1000) + 86400000
  now = tonumber(ARGV[2])
  ahead = ahead - floor(now / 1000)
end

-- The reply, and how much of it stands: a group's numbers are put behind that, and stand once its verdict does.
-- (Tables are made in the size that most calls need: to grow them step by step is what a call of one decision would spend its time on.)
local reply, size = { now, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil }, 1

-- Decides a charge by itself. What it would leave is kept in `parts`, its limits' numbers go to `slot` and on.
local function evaluate(charge, slot)
  local policy, parts, cost = charge.policy, charge.parts, charge.cost
  local blob = call("GET", charge.key)
  charge.stored = blob
  if not blob or unpack(">I4", blob) ~= policy.shape then
    blob = make_state()(policy, blob)
  end

  local step = charge.operation == REFUND and "refund" or "take"
  local verdict, position, count, longest = ALLOWED, FIRST_LIMIT, 1, 0
  for i = 1, #policy do
    local limit = policy[i]
    local after, used, wait, reset, record, log, entry = limit.kind[step](limit, blob, position, now, cost)
    reply[slot], reply[slot + 1], reply[slot + 2] = used, wait, reset
    if wait ~= 0 then
      if wait == STALE then
        return STALE_BOUNDS
      elseif not limit.shadow then
        verdict = DENIED
      else
        -- A shadow limit that would have denied is not charged, as if it had.
        local _
        after, _, _, reset, record, log = limit.kind.refund(limit, blob, position, now, 0)
      end
    end
    if reset > longest then
      longest = reset
    end
    position, slot, count = after, slot + 3, count + 1
    parts[count] = record
    if log then
      count = count + 1
      parts[count] = log
      if entry then
        count = count + 1
        parts[count] = entry
      end
    end
  end
  charge.blob, charge.count, charge.longest = blob, count, longest
  return verdict
end

-- Where nothing of a group is charged, a limit that had room for it still has.
local function report(charge, slot)
  local policy, position = charge.policy, FIRST_LIMIT
  for i = 1, #policy do
    local limit = policy[i]
    local after, used, _, reset = limit.kind.take(limit, charge.blob, position, now, 0)
    reply[slot], reply[slot + 2] = used, reset
    position, slot = after, slot + 3
  end
end

-- When a state of use for that many us may go, in the words of PXAT: rounded up, so never in the past. (PX would cost more: Redis
-- tells its replicas and its log PXAT in any case. The answers are kept, as most of a call ask the same.)
local expiries = {}
local function expiry(us)
  local at = expiries[us]
  if not at then
    at = format("%d", ceil((now + us) / 1000) + ahead)
    expiries[us] = at
  end
  return at
end

local function commit(charge)
  local parts, count, policy = charge.parts, charge.count + 1, charge.policy
  parts[1], parts[count] = policy.head, policy.tags
  call("SET", charge.key, concat(parts, "", 1, count), "PXAT", expiry(charge.longest))
end

local charges = {}
local operation, policy, cost, position = unpack(LINE, ARGV[3])
local line, lines = 1, #KEYS
while line <= lines do
  local verdict, count, slot = ALLOWED, 0, size + 2
  repeat
    operation = operation % NEW_GROUP
    local found
    if operation == GUARD then
      local generation = tonumber(call("GET", KEYS[line]) or 0)
      found = generation == cost and ALLOWED or STALE_GENERATION
    else
      count = count + 1
      local charge = charges[count]
      if not charge then
        charge = { key = 0, operation = 0, policy = 0, cost = 0, slot = 0, stored = 0, blob = 0, longest = 0, count = 0, parts = 0 }
        charge.parts = { 0, 0, 0, 0, 0, 0, 0, 0 }
        charges[count] = charge
      end
      charge.key, charge.operation, charge.policy, charge.cost, charge.slot = KEYS[line], operation, policies[policy], cost, slot
      found = evaluate(charge, slot)
      slot = slot + 3 * #charge.policy
    end
    -- Staleness outweighs a denial, a denial an allowance.
    if found > ALLOWED or found == DENIED and verdict == ALLOWED then
      verdict = found
    end
    line = line + 1
    if line <= lines then
      operation, policy, cost, position = unpack(LINE, ARGV[3], position)
    end
  until line > lines or operation >= NEW_GROUP

  reply[size + 1] = verdict
  if verdict > ALLOWED then
    for stale = size + 2, #reply do
      reply[stale] = nil
    end
    slot = size + 2
  else
    for i = 1, count do
      local charge = charges[i]
      if verdict == DENIED or charge.operation == PEEK then
        report(charge, charge.slot)
      elseif charge.operation == TAKE and charge.cost > 0 or charge.operation == REFUND and charge.stored then
        commit(charge)
      end
    end
  end
  size = slot - 1
end
return reply
