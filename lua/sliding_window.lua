-- sliding_window: admits `cost` if the last `window` us hold at most `capacity` with it (a coalescing log).
-- State    used, total, oldest, newest, count; then `count` entries of (last time, total)
-- Args     capacity, window, slice (1/128 of it, rounded up)
-- Bound    admitted in any window  <=  capacity
--
-- Admissions in the same slice share an entry, and an entry leaves when its *last* time leaves the window: at most 129 entries, never an
-- over-admission, late by less than 1/128 of the window. Entries carry running totals, so that ageing and the wait are binary searches.
-- The newest entry is (newest, total) itself; the log holds the others, oldest first, with times modulo 2^40 us and totals modulo 2^32:
-- both above any window or capacity that the library lets through.

local WINDOW, WINDOW_SIZE = "<I4I4ddI2", 26
local ENTRY, ENTRY_SIZE = "<I5I4", 9
local TIMES, TOTALS = 2 ^ 40, 2 ^ 32

-- The first entry for which `is_enough(time, total)` holds, as it does for all after it: how many come before it, and its time. The
-- newest stands behind the others, and is enough for whoever asks.
local function search(blob, log, count, newest, is_enough)
  local low, high, found = 0, count, newest
  while low < high do
    local middle = floor((low + high) / 2)
    local time, total = unpack(ENTRY, blob, log + middle * ENTRY_SIZE)
    -- Whole again: none is 2^40 us older than the newest.
    time = newest - (newest - time) % TIMES
    if is_enough(time, total) then
      high, found = middle, time
    else
      low = middle + 1
    end
  end
  return low, found
end

local function take(limit, blob, position, now, cost)
  local used, total, oldest, newest, count = unpack(WINDOW, blob, position)
  local capacity, window, slice = spread(limit)
  local log = position + WINDOW_SIZE
  local after, horizon = log + count * ENTRY_SIZE, now - window

  if used > 0 and newest <= horizon then
    used, count, log = 0, 0, after
  elseif used > 0 and oldest <= horizon then
    local gone
    gone, oldest = search(blob, log, count, newest, function(time)
      return time > horizon
    end)
    log, count = log + gone * ENTRY_SIZE, count - gone
    local _, through = unpack(ENTRY, blob, log - ENTRY_SIZE)
    used = (total - through) % TOTALS
  end

  local reset = used > 0 and newest - horizon or 0
  if cost > 0 then
    local room = capacity - cost
    if room < 0 then
      return after, used, NEVER, reset
    elseif used > room then
      local _, freeing = search(blob, log, count, newest, function(_, through)
        return (total - through) % TOTALS <= room
      end)
      return after, used, freeing - horizon, reset
    end

    local entry
    -- A clock that stepped back: entries stay in order, and leave no sooner.
    local at = now > newest and now or newest
    if used > 0 and at - newest > at % slice then
      entry, count = pack(ENTRY, newest % TIMES, total), count + 1
    elseif count == 0 then
      oldest = at
    end
    local left, record = used + cost, pack(WINDOW, used + cost, (total + cost) % TOTALS, oldest, at, count)
    return after, used, 0, reset, left, at - horizon, record, count > 0 and sub(blob, log, after - 1), entry
  end

  -- A refund. The oldest units come back: so the ceiling holds even where the refunded request was among the newest.
  local left = used + cost > 0 and used + cost or 0
  if left < used then
    local gone
    gone, oldest = search(blob, log, count, newest, function(_, through)
      return (total - through) % TOTALS < left
    end)
    log, count = log + gone * ENTRY_SIZE, count - gone
  end
  local later, record = left > 0 and newest - horizon or 0, pack(WINDOW, left, total, oldest, newest, count)
  return after, used, 0, reset, left, later, record, sub(blob, log, after - 1)
end

return take, WINDOW_SIZE, ENTRY_SIZE
