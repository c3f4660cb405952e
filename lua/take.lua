-- take: decides groups of charges; every limit of a group is charged, or none is.
--
-- KEYS      one for each line of ARGV[3]: the state of a (policy, subject), or an account's generation
-- ARGV[1]   the policies, packed: count, then for each its shape, its number of limits, their tags, that number again, and the limits:
--           kind, shadow, tag, capacity, a, b, c, d (a..d are the kind's further arguments, in its file)
-- ARGV[2]   "", or the time in microseconds (tests)
-- ARGV[3]   the lines, packed: operation (+ 16 where a group begins), policy (from 0), cost
-- Reply     integers of 8 bytes, packed: the time, then for each group its verdict and, unless that is stale, for every limit of it
--           used, wait_us (0: there was room, -1: there never is) and reset_us
--
-- A denial writes nothing. A clock that steps back loosens no limit: each kind sees to that.

-- 0 takes. The charges of a group are all of one operation.
local PEEK, REFUND, GUARD = 1, 2, 3
local LINE, NEW_GROUP = ">BI2d", 16
local LIMIT = ">BBI4ddddd"
local DENIED, ALLOWED, STALE_GENERATION, STALE_BOUNDS = 0, 1, 2, 3

local policies = {}
local count, position = unpack(">I2", ARGV[1])
for i = 0, count - 1 do
  local shape, limits, head = unpack(">I4B", ARGV[1], position)
  local tags = head + 4 * limits
  local policy = {
    shape = shape,
    tags = sub(ARGV[1], head, tags),
    nil,
    nil,
    nil,
  }
  position = tags + 1
  for j = 1, limits do
    local kind, shadow, tag, capacity, a, b, c, d, after = unpack(LIMIT, ARGV[1], position)
    kind = kind_of(kind)
    policy[j] = { kind = kind, take = kind.take, shadow = shadow == 1, tag = tag, capacity = capacity, a = a, b = b, c = c, d = d }
    position = after
  end
  policies[i] = policy
end

local time = call("TIME")
local now, ahead = time[1] * 1000000 + time[2], 0
if ARGV[2] ~= "" then
  -- Keys expire by the real clock, which an injected time need not follow: they are given a day more by that.
  ahead = ceil(now / 1000) + 86400000
  now = tonumber(ARGV[2])
  ahead = ahead - floor(now / 1000)
end

-- The numbers of the group under way, its verdict and three a limit: as things stand, and as they are once the group is charged.
-- (Tables are made in the size that most calls need: growing them is what a call of one decision would spend its time on.)
local standing, charged = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, { ALLOWED, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
local charges = { nil }

-- Decides a charge by itself, with its numbers from `slot` on; what it would leave is kept in its parts.
local function evaluate(charge, slot)
  local policy, parts, cost = charge.policy, charge.parts, charge.cost
  local blob = call("GET", charge.key)
  local shape, expires
  if blob then
    shape, expires = unpack(HEAD, blob)
  end
  charge.stored = blob
  if shape ~= policy.shape then
    blob, expires = make_state()(policy, blob), 0
  end

  local verdict, from, pieces, longest = ALLOWED, FIRST_LIMIT, 1, 0
  for i = 1, #policy do
    local limit = policy[i]
    local after, used, wait, reset, left, later, record, log, entry = limit.take(limit, blob, from, now, cost)
    if wait == STALE then
      return STALE_BOUNDS
    elseif wait ~= 0 and not limit.shadow then
      verdict = DENIED
    elseif wait ~= 0 then
      -- A shadow limit that would have denied is not charged, as if it had.
      local _
      _, _, _, _, left, later, record, log = limit.take(limit, blob, from, now, 0)
    end
    standing[slot], standing[slot + 1], standing[slot + 2] = used, wait, reset
    charged[slot], charged[slot + 1], charged[slot + 2] = left, wait, later
    if verdict == ALLOWED then
      if later > longest then
        longest = later
      end
      pieces = pieces + 1
      parts[pieces] = record
      if log then
        pieces = pieces + 1
        parts[pieces] = log
        if entry then
          pieces = pieces + 1
          parts[pieces] = entry
        end
      end
    end
    from, slot = after, slot + 3
  end
  charge.pieces, charge.longest, charge.expires = pieces, longest, expires
  return verdict
end

-- A state lives until all of it is unused, and 1/128 longer: so most of the time it need not be told anew, which costs Redis more than
-- all else that it does to write.
local function commit(charge)
  local parts, policy, pieces = charge.parts, charge.policy, charge.pieces + 1
  local expires = ceil((now + charge.longest) / 1000) + ahead
  parts[pieces] = policy.tags
  if charge.expires >= expires then
    parts[1] = sub(charge.stored, 1, FIRST_LIMIT - 1)
    call("SET", charge.key, concat(parts, "", 1, pieces), "KEEPTTL")
  else
    expires = expires + floor(charge.longest / 128000)
    parts[1] = pack(HEAD, policy.shape, expires)
    call("SET", charge.key, concat(parts, "", 1, pieces), "PXAT", format("%d", expires))
  end
end

local answers, answered = { pack(">i8", now), nil }, 1
local formats = {}
local operation, index, cost, next_line = unpack(LINE, ARGV[3])
local line, lines = 1, #KEYS
while line <= lines do
  local verdict, asked, slot = ALLOWED, 0, 2
  repeat
    operation = operation % NEW_GROUP
    local found
    if operation == GUARD then
      local generation = tonumber(call("GET", KEYS[line]) or 0)
      found = generation == cost and ALLOWED or STALE_GENERATION
    else
      asked = asked + 1
      local charge, policy = charges[asked], policies[index]
      if not charge then
        charge = { key = 0, operation = 0, policy = 0, cost = 0, stored = 0, pieces = 0, longest = 0, parts = 0, expires = 0 }
        charge.parts = { 0, 0, 0, 0, 0, 0, 0, 0 }
        charges[asked] = charge
      end
      charge.key, charge.operation, charge.policy, charge.cost = KEYS[line], operation, policy, operation == REFUND and -cost or cost
      found = evaluate(charge, slot)
      slot = slot + 3 * #policy
    end
    -- Staleness outweighs a denial, a denial an allowance.
    if found > ALLOWED or found == DENIED and verdict == ALLOWED then
      verdict = found
    end
    line = line + 1
    if line <= lines then
      operation, index, cost, next_line = unpack(LINE, ARGV[3], next_line)
    end
  until line > lines or operation >= NEW_GROUP

  local numbers = standing
  if verdict == ALLOWED and charges[1].operation ~= PEEK then
    numbers = charged
    for i = 1, asked do
      local charge = charges[i]
      if charge.cost > 0 or charge.cost < 0 and charge.stored then
        commit(charge)
      end
    end
  end
  standing[1] = verdict

  local width = verdict > ALLOWED and 1 or slot - 1
  local packed = formats[width]
  if not packed then
    packed = ">" .. ("i8"):rep(width)
    formats[width] = packed
  end
  answered = answered + 1
  answers[answered] = pack(packed, spread(numbers, 1, width))
end
return concat(answers)
