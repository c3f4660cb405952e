-- token_bucket: admits `cost` if the bucket holds it (GCRA, counted in units).
-- Fields   missing (units), since, part (when the next unit began to refill: us, and 1/parts us)
-- Args     capacity, interval, extra, parts (a unit refills in interval + extra/parts us)
-- Bound    admitted in any t  <=  capacity + t / interval
--
-- Microseconds and parts are kept apart, so that a rate such as 7 a minute neither drifts nor rounds. The state holds missing units and not
-- the time at which they are back: after an edit of the rate, they refill at the new rate.

local FORMAT <const>, FIELDS <const>, BYTES <const> = "ddI4", 3, 20
local INTERVAL <const>, EXTRA <const>, PARTS <const> = A, B, C
local SINCE <const>, PART <const> = 1, 2

-- When `units` are back that began to refill at (since, part): rounded up to a microsecond, then exactly (us, 1/parts us).
local function refilled_at(units, since, part, interval, extra, parts)
  part = part + units * extra
  local rest = part % parts
  local time = since + units * interval + (part - rest) / parts
  if time > FOREVER then
    -- An edit can leave many units that refill at one a year: beyond the integers that a double holds exactly.
    time, rest = FOREVER, 0
  end
  return rest > 0 and time + 1 or time, time, rest
end

-- How many units are back by `now`.
local function units_back(since, part, now, interval, extra, parts)
  local back = math.floor((now - since) / (interval + extra / parts))
  -- A negative time is not ours: the loops might not end.
  if extra > 0 and since >= 0 then
    -- The division rounds, refilled_at does not: correct by a unit where they differ.
    while back > 0 and refilled_at(back, since, part, interval, extra, parts) > now do
      back = back - 1
    end
    while refilled_at(back + 1, since, part, interval, extra, parts) <= now do
      back = back + 1
    end
  end
  return back
end

-- The fields at `now`, and the time when the bucket is full.
local function refill(missing, since, part, now, interval, extra, parts)
  if missing == 0 then
    -- A clock that stepped back must not make a full bucket look older than it is.
    return 0, since > now and since or now, 0, now
  elseif part >= parts then
    -- Written at another rate. Rounding up loses at most a microsecond.
    since, part = since + 1, 0
  end

  local full = refilled_at(missing, since, part, interval, extra, parts)
  if full <= now then
    return 0, now, 0, now
  elseif now - since >= interval then
    -- At least one unit may be back. This is never so on a clock that stepped back.
    local back = units_back(since, part, now, interval, extra, parts)
    local _
    missing, _, since, part = missing - back, refilled_at(back, since, part, interval, extra, parts)
  end
  return missing, since, part, full
end

local function take(limit, state, now, cost)
  local at, capacity, interval, extra, parts = limit[AT], limit[CAPACITY], limit[INTERVAL], limit[EXTRA], limit[PARTS]
  local missing, since, part, full = refill(state[at], state[at + SINCE], state[at + PART], now, interval, extra, parts)
  local reset, charged = full - now, missing + cost
  if charged > capacity and cost > 0 then
    local wait = cost > capacity and NEVER or refilled_at(charged - capacity, since, part, interval, extra, parts) - now
    return missing, wait, reset
  elseif charged <= 0 then
    charged, full = 0, now
  else
    full = refilled_at(charged, since, part, interval, extra, parts)
  end
  state[at] = charged
  state[at + SINCE] = since
  state[at + PART] = part
  return missing, 0, reset, charged, full - now
end

return { take = take, format = FORMAT, fields = FIELDS, bytes = BYTES }
