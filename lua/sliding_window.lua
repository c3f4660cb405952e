-- sliding_window: admits `cost` if the last `window` us hold at most `capacity` with it (a coalescing log).
-- Fields   used, total, oldest, newest, ring
-- Args     capacity, window, slice (1/128 of it, rounded up)
-- Bound    admitted in any window  <=  capacity
--
-- Admissions in the same slice share an entry (last time, total so far), and an entry leaves when its *last* time leaves the window: at
-- most 129 entries, never an over-admission, late by less than 1/128 of the window. The newest entry is (newest, total) itself, the
-- others are in the ring: most decisions have no need of it.

local FORMAT, COUNT, SIZE, ENTRY = "I4I4ddI3", 5, 27, 9
local WINDOW, SLICE = A, B
local TOTAL, OLDEST, NEWEST = 1, 2, 3

local function take(limit, state, now, cost)
  local at, capacity, horizon = limit[AT], limit[CAPACITY], now - limit[WINDOW]
  local used, oldest, newest = state[at], state[at + OLDEST], state[at + NEWEST]
  if used > 0 and oldest <= horizon then
    ring = ring or make_ring()
    used, oldest = ring.age(limit, state, horizon)
  end

  local reset = used > 0 and newest - horizon or 0
  local left = used + cost
  if cost > 0 then
    if cost > capacity then
      return used, NEVER, reset
    elseif left > capacity then
      if left > capacity + 1 then
        -- The oldest entry alone may not free enough.
        ring = ring or make_ring()
        oldest = ring.search(limit, state, horizon, capacity - cost)
      end
      return used, oldest - horizon, reset
    end

    -- A clock that stepped back: entries stay in order, and leave no sooner.
    local time, total, past = newest, state[at + TOTAL], nil
    if now > newest then
      time = now
    end
    if used == 0 then
      state[at + OLDEST] = time
    elseif time - newest > time % limit[SLICE] then
      past = newest
    elseif oldest == newest then
      state[at + OLDEST] = time
    end
    state[at] = left
    state[at + TOTAL] = total + cost
    state[at + NEWEST] = time
    return used, 0, reset, left, time - horizon, past, total
  elseif left <= 0 then
    ring = ring or make_ring()
    ring.clear(limit, state)
    state[at] = 0
    return used, 0, reset, 0, 0
  elseif cost < 0 then
    -- A refund. The oldest units come back: so the ceiling holds even where the refunded request was among the newest.
    ring = ring or make_ring()
    ring.drop(limit, state, horizon, left - 1)
    state[at] = left
  end
  return used, 0, reset, left, newest - horizon
end

return take, FORMAT, COUNT, SIZE, ENTRY
