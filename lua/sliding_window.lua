-- sliding_window: admits `cost` if the last `window` us hold at most `capacity` with it (a coalescing log).
-- Fields   used, total, oldest, newest, ring
-- Args     capacity, window, slice (1/128 of the window, rounded up)
-- Bound    admitted in any window  <=  capacity
--
-- Admissions in the same slice share an entry (last time, total so far), and an entry leaves when its *last* time leaves the window: at
-- most 129 entries, never an over-admission, late by less than 1/128 of the window. The newest entry is (newest, total), the others are in
-- the ring, which most decisions need not read.

local FORMAT <const>, FIELDS <const>, BYTES <const> = "I4I4ddI3", 5, 27
local WINDOW <const>, SLICE <const> = A, B
local TOTAL <const>, OLDEST <const>, NEWEST <const> = 1, 2, 3

local function take(limit, state, now, cost)
  local at, capacity, horizon = limit[AT], limit[CAPACITY], now - limit[WINDOW]
  local used, oldest, newest = state[at], state[at + OLDEST], state[at + NEWEST]
  if used > 0 and oldest <= horizon then
    used, oldest = require("ring").age(limit, state, horizon)
  end

  local reset = used > 0 and newest - horizon or 0
  local charged = used + cost
  if cost == 0 then
    return used, 0, reset, used, reset
  elseif charged > capacity then
    if cost > capacity then
      return used, NEVER, reset
    elseif charged > capacity + 1 then
      -- The oldest entry alone may not free enough.
      oldest = require("ring").search(limit, state, horizon, capacity - cost)
    end
    return used, oldest - horizon, reset
  end

  -- Charge. On a clock that stepped back, entries stay in order and leave no sooner.
  local time, total, entry_time = newest, state[at + TOTAL], nil
  if now > newest then
    time = now
  end
  if used == 0 then
    state[at + OLDEST] = time
  elseif time - newest > time % limit[SLICE] then
    entry_time = newest
  elseif oldest == newest then
    state[at + OLDEST] = time
  end
  state[at] = charged
  state[at + TOTAL] = total + cost
  state[at + NEWEST] = time
  return used, 0, reset, charged, time - horizon, entry_time, total
end

return { take = take, format = FORMAT, fields = FIELDS, bytes = BYTES, entry_bytes = ENTRY_BYTES }
