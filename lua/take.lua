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
  local shape, limits, tags = unpack(">I4B", ARGV[1], position)
  local first = tags + 4 * limits + 1
  local policy = { shape = shape, head = sub(ARGV[1], position, position + 3), tags = sub(ARGV[1], tags, first - 1), nil, nil, nil }
  position = first
  for j = 1, limits do
    local kind, shadow, tag, capacity, a, b, c, d, after = unpack(LIMIT, ARGV[1], position)
    policy[j] = { capacity, a, b, c, d, take_of(kind), shadow == 1, tag }
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

-- The numbers of the group under way, its verdict and three a limit: as things stand, and as they are once the group is charged.
-- (Tables are made in the size that most calls need: growing them is what a call of one decision would spend its time on. And what
-- follows is one piece, as calls and upvalues are what a call of many would.)
local standing, charged = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, { ALLOWED, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
local writes = { nil }
local answers, answered = { pack(">i8", now), nil }, 1
local formats = {}

local operation, index, cost, next_line = unpack(LINE, ARGV[3])
local line, lines = 1, #KEYS
while line <= lines do
  local verdict, slot, written, peeks = ALLOWED, 2, 0, false

  -- A line of the group: a guard, or a charge, which is decided by itself.
  repeat
    local key, policy = KEYS[line], policies[index]
    local stored = call("GET", key)
    operation = operation % NEW_GROUP
    if operation == GUARD then
      if tonumber(stored or 0) ~= cost then
        verdict = STALE_GENERATION
      end
    else
      local blob = stored
      if not stored or unpack(SHAPE, stored) ~= policy.shape then
        blob = make_state()(policy, stored)
      end
      if operation == REFUND then
        cost = -cost
      end
      peeks = operation == PEEK

      local parts, pieces, from, longest = { policy.head, nil, nil, nil, nil, nil, nil, nil }, 1, FIRST_LIMIT, 0
      for i = 1, #policy do
        local limit = policy[i]
        local after, used, wait, reset, left, later, record, log, entry = limit[TAKE](limit, blob, from, now, cost)
        if wait ~= 0 then
          -- Staleness outweighs a denial, a denial an allowance.
          if wait == STALE then
            verdict = STALE_BOUNDS
          elseif not limit[SHADOW] then
            verdict = verdict > ALLOWED and verdict or DENIED
          else
            -- A shadow limit that would have denied is not charged, as if it had.
            local _
            _, _, _, _, left, later, record, log = limit[TAKE](limit, blob, from, now, 0)
          end
        end
        standing[slot], standing[slot + 1], standing[slot + 2] = used, wait, reset
        charged[slot], charged[slot + 1], charged[slot + 2] = left, wait, later
        from, slot = after, slot + 3
        if verdict == ALLOWED then
          pieces = pieces + 1
          parts[pieces] = record
          if log then
            pieces = pieces + 1
            parts[pieces] = log
          end
          if entry then
            pieces = pieces + 1
            parts[pieces] = entry
          end
          if later > longest then
            longest = later
          end
        end
      end
      if cost > 0 or cost < 0 and stored then
        parts[pieces + 1] = policy.tags
        writes[written + 1], writes[written + 2], writes[written + 3] = key, parts, longest
        written = written + 3
      end
    end
    line = line + 1
    if line <= lines then
      operation, index, cost, next_line = unpack(LINE, ARGV[3], next_line)
    end
  until line > lines or operation >= NEW_GROUP

  -- All of it, or nothing.
  local numbers = standing
  if verdict == ALLOWED and not peeks then
    numbers = charged
    for i = 1, written, 3 do
      call("SET", writes[i], concat(writes[i + 1]), "PXAT", expiry(writes[i + 2]))
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
