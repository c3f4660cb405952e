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
local FOREVER <const> = 2 ^ 53

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

local function take(limit, state, now, cost)
  local at, capacity, interval, extra, parts = limit[AT], limit[CAPACITY], limit[INTERVAL], limit[EXTRA], limit[PARTS]
  local missing, since, part = state[at], state[at + SINCE], state[at + PART]
  if part >= parts then
    -- Written at another rate. Rounding up loses at most a microsecond.
    since, part = since + 1, 0
  end

  -- Refill.
  local full = now
  if missing > 0 then
    full = refilled_at(missing, since, part, interval, extra, parts)
  end
  if missing == 0 then
    -- A clock that stepped back must not make a full bucket look older than it is.
    since, part = since > now and since or now, 0
  elseif full <= now then
    missing, since, part, full = 0, now, 0, now
  else
    -- Units that are back. Negative on a clock that stepped back.
    local back = math.floor((now - since) / (interval + extra / parts))
    if extra > 0 then
      -- The division rounds, refilled_at does not: correct by a unit where they differ.
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

  -- Decide.
  local reset = full - now
  local charged, over = missing + cost, missing + cost - capacity
  if cost > capacity then
    return missing, NEVER, reset
  elseif cost > 0 and over > 0 then
    local time = refilled_at(over, since, part, interval, extra, parts)
    return missing, time - now, reset
  end

  -- Charge.
  local charged_reset = 0
  if charged > 0 then
    local time = refilled_at(charged, since, part, interval, extra, parts)
    charged_reset = time - now
  else
    charged = 0
  end
  state[at] = charged
  state[at + SINCE] = since
  state[at + PART] = part
  return missing, 0, reset, charged, charged_reset
end

return { take = take, format = FORMAT, fields = FIELDS, bytes = BYTES }
