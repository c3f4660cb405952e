-- quota: admits `cost` if the calendar period holds at most `capacity` with it.
-- State    used, written (when: a count from before the period is none)
-- Args     capacity, then four bounds: the starts of the period before, of this one, of the next and of the one after
-- Bound    admitted in a period  <=  capacity
--
-- The bounds are the caller's, the choice among them is ours, by our clock; outside all of them the caller is asked for others.

local QUOTA, QUOTA_SIZE = ">I7I7", 14

local quota = { blank = pack(QUOTA, 0, 0) }

function quota.size()
  return QUOTA_SIZE
end

-- The period under way, and what it has used; no period, where the bounds do not reach to now.
local function current(limit, blob, position, now)
  local start, stop = limit.b, limit.c
  if now < start then
    start, stop = limit.a, start
  elseif now >= stop then
    start, stop = stop, limit.d
  end
  if now < start or now >= stop then
    return nil
  end
  local used, written = unpack(QUOTA, blob, position)
  if written < start then
    used = 0
  end
  -- A clock that stepped back must not make a count look older than it is.
  return stop, used, written > now and written or now
end

function quota.take(limit, blob, position, now, cost)
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

function quota.refund(limit, blob, position, now, cost)
  local stop, used, written = current(limit, blob, position, now)
  if not stop then
    return position, 0, STALE, 0
  end
  used = used > cost and used - cost or 0
  return position + QUOTA_SIZE, used, 0, used > 0 and stop - now or 0, pack(QUOTA, used, written)
end

return quota
