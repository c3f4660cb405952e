-- quota: admits `cost` if the calendar period holds at most `capacity` with it.
-- State    used, written (when: a count from before the period is none)
-- Args     capacity, then four bounds: the starts of the period before, of this one, of the next and of the one after
-- Bound    admitted in a period  <=  capacity
--
-- The bounds are the caller's, the choice among them is ours, by our clock; outside all of them the caller is asked for others.

local QUOTA, QUOTA_SIZE = "<dd", 16

-- When the period ends, what it has used, and when that was written; nothing, where the bounds do not reach to now.
local function current(limit, blob, position, now)
  if now < limit.a or now >= limit.d then
    return nil
  end
  local used, written = unpack(QUOTA, blob, position)
  -- A clock that stepped back stays in the period in which it last wrote.
  local at = written > now and written or now
  local start, stop = limit.c, limit.d
  if at < limit.b then
    start, stop = limit.a, limit.b
  elseif at < limit.c then
    start, stop = limit.b, limit.c
  end
  return stop, written < start and 0 or used, at
end

local function take(limit, blob, position, now, cost)
  local stop, used, written = current(limit, blob, position, now)
  if not stop then
    return position, 0, STALE, 0
  end
  local wait = 0
  if cost > limit.capacity then
    wait = NEVER
  elseif used + cost > limit.capacity and cost > 0 then
    wait = stop - now
  else
    used = used + cost
  end
  return position + QUOTA_SIZE, used, wait, used > 0 and stop - now or 0, pack(QUOTA, used, written)
end

local function refund(limit, blob, position, now, cost)
  local stop, used, written = current(limit, blob, position, now)
  if not stop then
    return position, 0, STALE, 0
  end
  used = used > cost and used - cost or 0
  return position + QUOTA_SIZE, used, 0, used > 0 and stop - now or 0, pack(QUOTA, used, written)
end

return { record = QUOTA_SIZE, take = take, refund = refund }
