-- token_bucket: admits `cost` if the bucket holds it (GCRA, told in units).
-- Fields   missing (units), since, part (when the next of them began to refill: us, and 1/parts us)
-- Args     capacity, interval, extra, parts (a unit is refilled in interval + extra/parts us)
-- Bound    admitted in any t  <=  capacity + t / interval
--
-- Whole microseconds and parts are kept apart, so that a rate such as 7 a minute neither drifts nor rounds. Missing units, not the
-- time until they are back, are what is kept: after an edit of the rate they refill at the new one.

local FORMAT, COUNT, SIZE = "ddI4", 3, 20
local INTERVAL, EXTRA, PARTS = A, B, C
local SINCE, PART = 1, 2
local FOREVER = 2 ^ 53

-- When `units` are back that began to refill at (since, part): the first whole microsecond, and the very moment in two parts.
local function refilled_at(units, since, part, interval, extra, parts)
  part = part + units * extra
  local rest = part % parts
  local time = since + units * interval + (part - rest) / parts
  if time > FOREVER then
    -- After an edit many units may be missing that come back one in a year: later than can be told.
    time, rest = FOREVER, 0
  end
  return rest > 0 and time + 1 or time, time, rest
end

local function take(limit, state, now, cost)
  local at, capacity, interval, extra, parts = limit[AT], limit[CAPACITY], limit[INTERVAL], limit[EXTRA], limit[PARTS]
  local missing, since, part = state[at], state[at + SINCE], state[at + PART]
  if part >= parts then
    -- Of another rate: at most a microsecond is lost.
    since, part = since + 1, 0
  end

  local full = now
  if missing > 0 then
    full = refilled_at(missing, since, part, interval, extra, parts)
  end
  if missing == 0 then
    -- A clock that stepped back must not make a full bucket look older than it is.
    since, part = since > now and since or now, 0
  elseif full <= now then
    missing = 0
    since = now
    part = 0
    full = now
  else
    -- How many units are back; less than none, on a clock that stepped back.
    local back = math.floor((now - since) / (interval + extra / parts))
    if extra > 0 then
      -- The division was rounded, refilled_at is not.
      while back > 0 and refilled_at(back, since, part, interval, extra, parts) > now do
        back = back - 1
      end
      while back >= 0 and refilled_at(back + 1, since, part, interval, extra, parts) <= now do
        back = back + 1
      end
    end
    if back > 0 then
      local _
      missing, _, since, part = missing - back, refilled_at(back, since, part, interval, extra, parts)
    end
  end

  local reset = full - now
  local left, over = missing + cost, missing + cost - capacity
  if cost > capacity then
    return missing, NEVER, reset
  elseif cost > 0 and over > 0 then
    local time = refilled_at(over, since, part, interval, extra, parts)
    return missing, time - now, reset
  end

  local later = 0
  if left > 0 then
    local time = refilled_at(left, since, part, interval, extra, parts)
    later = time - now
  else
    left = 0
  end
  state[at] = left
  state[at + SINCE] = since
  state[at + PART] = part
  return missing, 0, reset, left, later
end

return take, FORMAT, COUNT, SIZE
