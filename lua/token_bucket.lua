-- token_bucket: admits `cost` if the bucket holds it (GCRA, told in units).
-- State    missing (units), since, part (when the next of them began to refill: us, and 1/parts us)
-- Args     capacity, interval, extra, parts (a unit is refilled in interval + extra/parts us)
-- Bound    admitted in any t  <=  capacity + t / interval
--
-- Whole microseconds and parts are kept apart, so that a rate such as 7 a minute neither drifts nor rounds. Missing units, not the
-- time until they are back, are what is kept: after an edit of the rate they refill at the new one.

local BUCKET, BUCKET_SIZE = "<ddI4", 20

-- When `units` are back that began to refill at (since, part): whole microseconds and parts.
local function refilled_at(limit, units, since, part)
  part = part + units * limit.b
  local rest = part % limit.c
  return since + units * limit.a + (part - rest) / limit.c, rest
end

local function whole_at(limit, units, since, part)
  local time, rest = refilled_at(limit, units, since, part)
  return rest > 0 and time + 1 or time
end

-- What is missing now, and since when and what part of a microsecond the next unit refills.
local function age(limit, blob, position, now)
  local missing, since, part = unpack(BUCKET, blob, position)
  if part >= limit.c then
    -- Of another rate: at most a microsecond is lost.
    since, part = since + 1, 0
  end
  if missing == 0 or whole_at(limit, missing, since, part) <= now then
    -- A clock that stepped back must not make a full bucket look older than it is.
    return 0, since > now and missing == 0 and since or now, 0
  end
  -- How many units are back: the division is rounded, refilled_at is not. None, on a clock that stepped back.
  local back = floor((now - since) / (limit.a + limit.b / limit.c))
  while back > 0 and whole_at(limit, back, since, part) > now do
    back = back - 1
  end
  while back >= 0 and whole_at(limit, back + 1, since, part) <= now do
    back = back + 1
  end
  if back <= 0 then
    return missing, since, part
  end
  return missing - back, refilled_at(limit, back, since, part)
end

local function take(limit, blob, position, now, cost)
  local missing, since, part = age(limit, blob, position, now)
  local wait, lacking = 0, missing + cost - limit.capacity
  if cost > limit.capacity then
    wait = NEVER
  elseif lacking > 0 and cost > 0 then
    wait = whole_at(limit, lacking, since, part) - now
  else
    missing = missing + cost
  end
  return position + BUCKET_SIZE, missing, wait, whole_at(limit, missing, since, part) - now, pack(BUCKET, missing, since, part)
end

local function refund(limit, blob, position, now, cost)
  local missing, since, part = age(limit, blob, position, now)
  missing = missing > cost and missing - cost or 0
  local reset = missing > 0 and whole_at(limit, missing, since, part) - now or 0
  return position + BUCKET_SIZE, missing, 0, reset, pack(BUCKET, missing, since, part)
end

return { record = BUCKET_SIZE, take = take, refund = refund }
