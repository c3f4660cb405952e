-- quota: admits `cost` if the calendar period holds at most `capacity` with it.
-- Fields   used, written (the time of the last charge: a count from an earlier period is void)
-- Args     capacity, before, this, next, last (the starts of the previous period, of this one, and of the two after it)
-- Bound    admitted in a period  <=  capacity
--
-- The caller computes the bounds, and the script picks the period by Redis's clock. Outside the bounds the answer is STALE, and the caller
-- sends others.

local FORMAT <const>, FIELDS <const>, BYTES <const> = "dd", 2, 16
local BEFORE <const>, THIS <const>, NEXT <const>, LAST <const> = A, B, C, D
local WRITTEN <const> = 1

local function take(limit, state, now, cost)
  local at, capacity = limit[AT], limit[CAPACITY]
  local before, this, next, last = limit[BEFORE], limit[THIS], limit[NEXT], limit[LAST]
  if now < before or now >= last then
    return 0, STALE, 0
  end

  -- A clock that stepped back stays in the period of the last charge.
  local used, written = state[at], state[at + WRITTEN]
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

  local charged = used + cost
  state[at] = charged
  state[at + WRITTEN] = time
  return used, 0, reset, charged, charged > 0 and stop - now or 0
end

return { take = take, format = FORMAT, fields = FIELDS, bytes = BYTES }
