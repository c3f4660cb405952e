-- token_bucket: admits `cost` if the bucket holds it (GCRA, told in units).
-- State    missing (units), since, part (when the next of them began to refill: us, and 1/parts us)
-- Args     capacity, interval, extra, parts (a unit is refilled in interval + extra/parts us)
-- Bound    admitted in any t  <=  capacity + t / interval
--
-- Whole microseconds and parts are kept apart, so that a rate such as 7 a minute neither drifts nor rounds. Missing units, not the
-- time until they are back, are what is kept: after an edit of the rate they refill at the new one.

local BUCKET, BUCKET_SIZE = "<ddI4", 20

-- When `units` are back that began to refill at (since, part): the first whole microsecond, and the very moment in two parts.
local function refilled_at(limit, units, since, part)
  part = part + units * limit.b
  local rest = part % limit.c
  local time = since + units * limit.a + (part - rest) / limit.c
  return rest > 0 and time + 1 or time, time, rest
end

local function take(limit, blob, position, now, cost)
  local missing, since, part = unpack(BUCKET, blob, position)
  local after = position + BUCKET_SIZE
  if part >= limit.c then
    -- Of another rate: at most a microsecond is lost.
    since, part = since + 1, 0
  end

  if missing == 0 then
    -- A clock that stepped back must not make a full bucket look older than it is.
    since, part = since > now and since or now, 0
  elseif refilled_at(limit, missing, since, part) <= now then
    missing, since, part = 0, now, 0
  else
    -- How many units are back: the division is rounded, refilled_at is not. Less than none, on a clock that stepped back.
    local back = floor((now - since) / (limit.a + limit.b / limit.c))
    while back > 0 and refilled_at(limit, back, since, part) > now do
      back = back - 1
    end
    while back >= 0 and refilled_at(limit, back + 1, since, part) <= now do
      back = back + 1
    end
    if back > 0 then
      local _
      missing, _, since, part = missing - back, refilled_at(limit, back, since, part)
    end
  end

  local reset = missing > 0 and refilled_at(limit, missing, since, part) - now or 0
  local left, over = missing + cost, missing + cost - limit.capacity
  if cost > limit.capacity then
    return after, missing, NEVER, reset
  elseif cost > 0 and over > 0 then
    local time = refilled_at(limit, over, since, part)
    return after, missing, time - now, reset
  elseif left <= 0 then
    return after, missing, 0, reset, 0, 0, pack(BUCKET, 0, since, part)
  end
  local time = refilled_at(limit, left, since, part)
  return after, missing, 0, reset, left, time - now, pack(BUCKET, left, since, part)
end

return { record = BUCKET_SIZE, take = take }
