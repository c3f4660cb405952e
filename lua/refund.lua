-- refund: gives back what was taken, where it was taken.
--
-- Bound    no limit is looser than if the units that are given back had not been taken
--
-- For each kind, a function gives back up to `cost` of what was taken at `time`, and returns what `take` returns. First it takes 0, which
-- brings the fields up to date.

-- A tag modulo 4 is the number of its kind.
local KINDS <const> = 4
-- The fields and arguments of the kinds.
local TOTAL <const>, OLDEST <const>, NEWEST <const>, WINDOW <const>, SLICE <const> = 1, 2, 3, A, B
local SINCE <const>, PART <const>, INTERVAL <const>, EXTRA <const>, PARTS <const> = 1, 2, A, B, C
local WRITTEN <const>, BEFORE <const>, THIS <const>, NEXT <const>, LAST <const> = 1, A, B, C, D

-- An entry of a ring, and what both are stored modulo (ring.lua).
local ENTRY_FORMAT <const> = "<I5I4"
local TIMES <const>, TOTALS <const> = 2 ^ 40, 2 ^ 32

local ring, floor, min = require("ring"), math.floor, math.min

-- The times and totals of the last `count` entries and of the newest, oldest first.
local function last_entries(limit, state, count)
  local at, offset = limit[AT], ring.offset_of(limit, state)
  local newest, size, head, length = state[at + NEWEST], ring.read_header(limit, state)
  local slot = size > 0 and (head + length - count) % size or 0
  local fit = min(count, size - slot)
  local entries = ring.read(state, offset + slot * ENTRY_BYTES, fit * ENTRY_BYTES)
  if fit < count then
    entries = entries .. ring.read(state, offset, (count - fit) * ENTRY_BYTES)
  end

  local times, totals = {}, {}
  for i = 1, floor(#entries / ENTRY_BYTES) do
    local time, total = struct.unpack(ENTRY_FORMAT, entries, (i - 1) * ENTRY_BYTES + 1)
    times[i], totals[i] = newest - (newest - time) % TIMES, total
  end
  times[#times + 1], totals[#totals + 1] = newest, state[at + TOTAL]
  return times, totals
end

-- Takes the entry at index `i` out of the last entries. The entries behind it are written again by `write_entries`.
local function remove(limit, state, times, i)
  local at = limit[AT]
  local size, head, length = ring.read_header(limit, state)
  if i == #times then
    state[at + NEWEST] = times[i - 1]
  elseif i == 1 then
    head = (head + 1) % size
    state[at + OLDEST] = times[2]
  end
  ring.write_header(limit, state, size, head, length - 1)
end

-- Gives back up to `units` from the entry that holds what was taken at `time`, and nothing from any other. Returns the units in use, then
-- what `write_entries` has to write, if anything: the index of the first changed entry, and the entries from there on.
--
-- An entry holds the admissions of one slice, up to its time. If a take is dated later than `time`, because the clock stepped back, this is
-- an older entry or none: giving back from an older entry loosens nothing, as it leaves the window first.
local function give_back(limit, state, time, units)
  local at = limit[AT]
  local used, _, _, length = state[at], ring.read_header(limit, state)
  local count, times, totals = 4
  repeat
    count = min(2 * count, length)
    times, totals = last_entries(limit, state, count)
  until count == length or times[1] < time
  local i = 1
  while times[i] and times[i] < time do
    i = i + 1
  end
  if not times[i] or times[i] - time > times[i] % limit[SLICE] then
    return used
  end

  -- The total before the oldest entry is not stored. It follows from the units in use.
  local oldest, total = i == 1, state[at + TOTAL]
  local held = (totals[i] - (oldest and total - used or totals[i - 1])) % TOTALS
  local given = min(units, held)
  state[at] = used - given
  if given == held and #times > 1 then
    remove(limit, state, times, i)
  end
  if oldest then
    -- The totals stay: without these units, the log begins later.
    return used - given
  end
  state[at + TOTAL] = (total - given) % TOTALS
  local changed = {}
  for j = given == held and i + 1 or i, #times - 1 do
    changed[#changed + 1] = struct.pack(ENTRY_FORMAT, times[j] % TIMES, (totals[j] - given) % TOTALS)
  end
  return used - given, #changed > 0 and length - #times + i or nil, table.concat(changed)
end

local function write(state, place, entries)
  local rest = state[REST]
  if rest then
    state[REST] = rest:sub(1, place) .. entries .. rest:sub(place + #entries + 1)
  else
    redis.call("SETRANGE", state[KEY], state[POLICY].bytes + place .. "", entries)
  end
end

-- Replaces entries, from the one at `index` on, in order from the oldest.
local function write_entries(limit, state, index, entries)
  local offset = ring.offset_of(limit, state)
  local size, head = ring.read_header(limit, state)
  local slot = (head + index) % size
  local fit = (size - slot) * ENTRY_BYTES
  write(state, offset + slot * ENTRY_BYTES, entries:sub(1, fit))
  if #entries > fit then
    write(state, offset, entries:sub(fit + 1))
  end
end

-- From the log entry of that time, and nothing once it has left the window.
local function of_window(limit, state, now, cost, time)
  local horizon = now - limit[WINDOW]
  local used, _, reset = limit[KIND].take(limit, state, now, 0)
  if used == 0 or time <= horizon then
    return used, 0, reset, used, reset
  end
  local left, index, entries = give_back(limit, state, time, cost)
  if index then
    state.patches = state.patches or {}
    table.insert(state.patches, { limit, state, index, entries })
  end
  return used, 0, reset, left, left > 0 and state[limit[AT] + NEWEST] - horizon or 0
end

-- What the bucket lacks because of the take: `cost` units, less what has refilled since.
--
-- Proof: compare the bucket with one without the take. The difference of what they lack begins at `cost`, and shrinks only while the other
-- one is full, at most at the rate. So it is at least `cost` less the refill, which is given back here, exactly.
--
-- In terms of time: the bucket is full earlier by the refill of `cost` units, less the time since the take.
local function of_bucket(limit, state, now, cost, time)
  local at, interval, extra, parts = limit[AT], limit[INTERVAL], limit[EXTRA], limit[PARTS]
  local take = limit[KIND].take
  local used, _, reset = take(limit, state, now, 0)

  -- On a clock that stepped back, `since` is the latest time that the bucket knows.
  local since, part = state[at + SINCE], state[at + PART]
  local latest = since > now and since or now
  time = time > latest and latest or time
  local ahead = latest - time - cost * interval
  if ahead >= cost or ahead * parts >= cost * extra then
    return used, 0, reset, used, reset
  end

  -- `since` moves ahead by the time since the take, and back by as many units as keep it from being in the future.
  local units = since < time and 0 or floor((since - time + 1) / (interval + extra / parts)) + 1
  local missing = used - cost + units
  part = part - units * extra
  state[at] = missing > 0 and missing or 0
  state[at + SINCE] = missing > 0 and since + latest - time - units * interval + floor(part / parts) or latest
  state[at + PART] = part % parts
  local left, _, left_reset = take(limit, state, latest, 0)
  return used, 0, reset, left, left > 0 and left_reset + latest - now or 0
end

-- From the current period, if it contains that time, which is not later than the last charge.
local function of_quota(limit, state, now, cost, time)
  local at = limit[AT]
  local written = state[at + WRITTEN]
  local used, wait, reset = limit[KIND].take(limit, state, now, 0)
  if wait ~= 0 then
    return used, wait, reset
  end

  local latest, start = state[at + WRITTEN], limit[NEXT]
  if latest < limit[THIS] then
    start = limit[BEFORE]
  elseif latest < start then
    start = limit[THIS]
  elseif latest >= limit[LAST] then
    -- The clock stepped back by more than a period. The bounds do not contain the period of the last charge, but `latest` is in it.
    start = latest
  end
  local left = used
  if time >= start and time <= written then
    left = used > cost and used - cost or 0
    state[at] = left
  end
  return used, 0, reset, left, left > 0 and reset or 0
end

local functions = { [0] = of_window, of_bucket, of_quota }

-- The limits of a policy, each with a `take` that gives back what was taken at its time; and the position behind the times.
local function limits(policy, packed_times, position)
  local substitutes = {}
  for i, limit in ipairs(policy) do
    local of_kind, time = functions[limit[TAG] % KINDS], nil
    time, position = struct.unpack(">d", packed_times, position)
    local function take(_, state, now, cost)
      return of_kind(limit, state, now, cost, time)
    end
    substitutes[i] = { { take = take }, limit[SHADOW] }
  end
  return substitutes, position
end

-- Writes the changed entries of logs, before the states of their group are written.
local function commit(states, changed)
  for i = 1, changed, 2 do
    for _, patch in ipairs(states[i].patches or {}) do
      write_entries(unpack(patch))
    end
  end
end

return { limits = limits, commit = commit }
