-- quota: admits `cost` if the calendar period holds at most `capacity` with it.
-- Fields   used, written (when: a count from before the period is none)
-- Args     capacity, then four bounds: the starts of the period before, of this one, of the next and of the one after
-- Bound    admitted in a period  <=  capacity
--
-- The bounds are the caller's, the choice among them is ours, by our clock; outside all of them the caller is asked for others.

local FORMAT, COUNT, SIZE = "dd", 2, 16
local BEFORE, THIS, NEXT, LAST = A, B, C, D
local WRITTEN = 1

local function take(limit, state, now, cost)
  local at, capacity = limit[AT], limit[CAPACITY]
  local before, this, next, last = limit[BEFORE], limit[THIS], limit[NEXT], limit[LAST]
  if now < before or now >= last then
    return 0, STALE, 0
  end

  local used, written = state[at], state[at + WRITTEN]
  -- A clock that stepped back stays in the period in which it last wrote.
  local time = written > now and written or now
  local start, stop = next, last
  if time < this then
    start, stop = before, this
  elseif time < next then
    start, stop = this, next
  end
  if written < start then
    used = 0
  end

  local reset = used > 0 and stop - now or 0
  if cost > capacity then
    return used, NEVER, reset
  elseif cost > 0 and used + cost > capacity then
    return used, stop - now, reset
  end
  local left = used + cost > 0 and used + cost or 0
  state[at] = left
  state[at + WRITTEN] = time
  return used, 0, reset, left, left > 0 and stop - now or 0
end

return take, FORMAT, COUNT, SIZE
