-- token_bucket: admits `cost` if the bucket holds it (GCRA, told in units).
-- State    missing (units), since, part (when the next of them began to refill: us, and 1/parts us)
-- Args     capacity, interval, extra, parts (a unit is refilled in interval + extra/parts us)
-- Bound    admitted in any t  <=  capacity + t / interval
--
-- Whole microseconds and parts are kept apart, so that a rate such as 7 a minute neither drifts nor rounds. Missing units, not the
-- time until they are back, are what is kept: after an edit of the rate they refill at the new one.

local BUCKET, BUCKET_SIZE = ">I5I7I4", 16

local token_bucket = { blank = pack(BUCKET, 0, 0, 0) }

function token_bucket.size()
  return BUCKET_SIZE
end

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

-- How many units are back: the division is rounded, refilled_at is not. None, on a clock that stepped back.
local function refilled(limit, since, part, now)
  local back = floor((now - since) / (limit.a + limit.b / limit.c))
  while back > 0 and whole_at(limit, back, since, part) > now do
    back = back - 1
  end
  while whole_at(limit, back + 1, since, part) <= now do
    back = back + 1
  end
  return back > 0 and back or 0
end

-- What is missing now, and since when and what part of a microsecond the next unit refills.
local function age(limit, blob, position, now)
  local missing, since, part = unpack(BUCKET, blob, position)
  if missing == 0 then
    return 0, now, 0
  elseif part >= limit.c then
    since, part = since + 1, 0
  end
  local back = refilled(limit, since, part, now)
  if back >= missing then
    return 0, now, 0
  end
  return missing - back, refilled_at(limit, back, since, part)
end

function token_bucket.take(limit, blob, position, now, cost)
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

function token_bucket.refund(limit, blob, position, now, cost)
  local missing, since, part = age(limit, blob, position, now)
  missing = missing > cost and missing - cost or 0
  local reset = missing > 0 and whole_at(limit, missing, since, part) - now or 0
  return position + BUCKET_SIZE, missing, 0, reset, pack(BUCKET, missing, since, part)
end

return token_bucket
