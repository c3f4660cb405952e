-- quota: admits `cost` if the calendar period holds at most `capacity` with it.
-- State    used, written (when: a count from before the period is none)
-- Args     capacity, then four bounds: the starts of the period before, of this one, of the next and of the one after
-- Bound    admitted in a period  <=  capacity
--
-- The bounds are the caller's, the choice among them is ours, by our clock; outside all of them the caller is asked for others.

local QUOTA, QUOTA_SIZE = "<dd", 16

local function take(limit, blob, position, now, cost)
  local after, capacity, before, this, next, last = position + QUOTA_SIZE, spread(limit)
  if now < before or now >= last then
    return after, 0, STALE, 0
  end

  local used, written = unpack(QUOTA, blob, position)
  -- A clock that stepped back stays in the period in which it last wrote.
  local at = written > now and written or now
  local start, stop = next, last
  if at < this then
    start, stop = before, this
  elseif at < next then
    start, stop = this, next
  end
  if written < start then
    used = 0
  end

  local reset = used > 0 and stop - now or 0
  if cost > capacity then
    return after, used, NEVER, reset
  elseif cost > 0 and used + cost > capacity then
    return after, used, stop - now, reset
  end
  local left = used + cost > 0 and used + cost or 0
  return after, used, 0, reset, left, left > 0 and stop - now or 0, pack(QUOTA, left, at)
end

return take, QUOTA_SIZE
