-- sliding_window: admits `cost` if the last `window` us hold at most `capacity` with it (a coalescing log).
-- State    used, total, oldest, newest, count; then `count` entries of (last time, total)
-- Args     capacity, window, slice (1/128 of it, rounded up)
-- Bound    admitted in any window  <=  capacity
--
-- Admissions in the same slice share an entry, and an entry leaves when its *last* time leaves the window: at most 129
-- entries, never an over-admission, late by less than 1/128 of the window. Entries carry running totals, so that ageing and the wait
-- are binary searches. The newest entry is (newest, total) itself; the log holds the others, oldest first, with times modulo 2^40 us
-- and totals modulo 2^32: both above any window or capacity that the library lets through.

local WINDOW, WINDOW_SIZE = ">I4I4I7I7I2", 24
local ENTRY, ENTRY_SIZE = ">I5I4", 9
local TIMES, TOTALS = 2 ^ 40, 2 ^ 32

local sliding_window = { blank = pack(WINDOW, 0, 0, 0, 0, 0) }

function sliding_window.size(blob, position)
  local _, _, _, _, count = unpack(WINDOW, blob, position)
  return WINDOW_SIZE + count * ENTRY_SIZE
end

-- How many of `count` entries come before the first for which `is_enough(time, total)` holds; it holds for all after that.
local function search(blob, log, count, is_enough)
  local low, high = 0, count
  while low < high do
    local middle = floor((low + high) / 2)
    if is_enough(unpack(ENTRY, blob, log + middle * ENTRY_SIZE)) then
      high = middle
    else
      low = middle + 1
    end
  end
  return low
end

-- The time of an entry, whole again: none is 2^40 us older than the newest.
local function time_of(blob, log, count, newest, entry)
  if entry == count then
    return newest
  end
  local time = unpack(">I5", blob, log + entry * ENTRY_SIZE)
  return newest - (newest - time) % TIMES
end

-- What later than `horizon` is left of a log: used, oldest, count, and where it now begins.
local function age(blob, log, count, newest, total, horizon)
  if newest <= horizon then
    return 0, newest, 0, log + count * ENTRY_SIZE
  end
  local gone = search(blob, log, count, function(time)
    return newest - (newest - time) % TIMES > horizon
  end)
  local _, through = unpack(ENTRY, blob, log + (gone - 1) * ENTRY_SIZE)
  log, count = log + gone * ENTRY_SIZE, count - gone
  return (total - through) % TOTALS, time_of(blob, log, count, newest, 0), count, log
end

-- When the log will hold no more than `room`.
local function frees_at(limit, blob, log, count, newest, total, room)
  local freeing = search(blob, log, count, function(_, through)
    return (total - through) % TOTALS <= room
  end)
  return time_of(blob, log, count, newest, freeing) + limit.a
end

function sliding_window.take(limit, blob, position, now, cost)
  local used, total, oldest, newest, count = unpack(WINDOW, blob, position)
  local window, log = limit.a, position + WINDOW_SIZE
  local after = log + count * ENTRY_SIZE
  if used > 0 and oldest <= now - window then
    used, oldest, count, log = age(blob, log, count, newest, total, now - window)
  end

  local wait = 0
  if cost > limit.capacity then
    wait = NEVER
  elseif used + cost > limit.capacity and cost > 0 then
    wait = frees_at(limit, blob, log, count, newest, total, limit.capacity - cost) - now
  end
  if wait ~= 0 or cost == 0 then
    return after, used, wait, used > 0 and newest + window - now or 0
  end

  -- A clock that stepped back: entries stay in order, and leave no sooner.
  local at = now > newest and now or newest
  local grown = (total + cost) % TOTALS
  if used > 0 and at - newest > at % limit.b then
    return after, used + cost, 0, window, pack(WINDOW, used + cost, grown, oldest, at, count + 1), sub(blob, log, after - 1),
      pack(ENTRY, newest % TIMES, total)
  end
  if count == 0 then
    oldest = at
  end
  return after, used + cost, 0, window, pack(WINDOW, used + cost, grown, oldest, at, count), sub(blob, log, after - 1)
end

-- The oldest units come back: so the ceiling holds even where the refunded request was among the newest.
function sliding_window.refund(limit, blob, position, now, cost)
  local used, total, oldest, newest, count = unpack(WINDOW, blob, position)
  local log = position + WINDOW_SIZE
  local after = log + count * ENTRY_SIZE
  if used > 0 and oldest <= now - limit.a then
    used, oldest, count, log = age(blob, log, count, newest, total, now - limit.a)
  end

  used = used > cost and used - cost or 0
  local gone = search(blob, log, count, function(_, through)
    return (total - through) % TOTALS < used
  end)
  log, count = log + gone * ENTRY_SIZE, count - gone
  oldest = time_of(blob, log, count, newest, 0)
  return after, used, 0, used > 0 and newest + limit.a - now or 0, pack(WINDOW, used, total, oldest, newest, count),
    sub(blob, log, after - 1)
end

return sliding_window
