-- ring: the log of a sliding window, a ring buffer behind the fields of a state. Reads and writes only the entries that a decision needs.
--
-- Layout   entries of (time, total). The limit's last field packs the ring's size, head and length, a byte each: the number of entries that
--          it has room for, the index of the oldest, and the number in use. The size grows with use.
--
-- Totals are cumulative, so the units between two entries are the difference of their totals, and finding an entry is a search. Times are
-- stored modulo 2^40 us and totals modulo 2^32: both exceed any window or capacity that the library accepts.

-- The fields of a sliding window, from its first.
local TOTAL <const>, OLDEST <const>, NEWEST <const>, RING <const> = 1, 2, 3, 4
local ENTRY_FORMAT <const> = "<I5I4"
local MOST <const> = 128
local TIMES <const>, TOTALS <const> = 2 ^ 40, 2 ^ 32

local call, decode, floor, min = redis.call, struct.unpack, math.floor, math.min

local function read_header(limit, state)
  local field = state[limit[AT] + RING]
  local length = field % 256
  return floor(field / 65536), (field - length) / 256 % 256, length
end

local function write_header(limit, state, size, head, length)
  state[limit[AT] + RING] = size * 65536 + head * 256 + length
end

-- The offset of the ring, from the first byte behind the fields.
local function offset_of(limit, state)
  local offset = 0
  for _, other in ipairs(state[POLICY]) do
    if other == limit then
      return offset
    elseif other[KIND].entry_bytes then
      offset = offset + read_header(other, state) * ENTRY_BYTES
    end
  end
end

local function read(state, offset, length)
  local rest, start = state[REST], state[POLICY].bytes + offset
  if rest then
    return rest:sub(offset + 1, offset + length)
  end
  return call("GETRANGE", state[KEY], start .. "", start + length - 1 .. "")
end

-- Finds the oldest entry later than `horizon` with at most `most` units after it. Returns its time, the number of entries before it, and
-- the total of the last of those.
local function search(limit, state, horizon, most)
  local at = limit[AT]
  local total, newest, offset = state[at + TOTAL], state[at + NEWEST], offset_of(limit, state)
  local size, head, length = read_header(limit, state)
  -- A string that is not ours may claim any length.
  length = length > size and 0 or length

  -- Most searches end near the front: read 8 entries, then twice as many each time.
  local passed, total_before, chunk = 0, 0, 8
  while passed < length do
    local index = (head + passed) % size
    local count = min(chunk, length - passed, size - index)
    local entries = read(state, offset + index * ENTRY_BYTES, count * ENTRY_BYTES)
    if #entries < count * ENTRY_BYTES then
      -- Not ours: the string is too short.
      break
    end
    -- A binary search that tries the last entry first.
    local low, high, middle, found = 0, count, count - 1, nil
    while low < high do
      local time, entry_total = decode(ENTRY_FORMAT, entries, middle * ENTRY_BYTES + 1)
      -- Undo the modulo: every entry is less than 2^40 us older than the newest.
      time = newest - (newest - time) % TIMES
      if time > horizon and (total - entry_total) % TOTALS <= most then
        high, found = middle, time
      else
        low, total_before = middle + 1, entry_total
      end
      middle = floor((low + high) / 2)
    end
    passed = passed + low
    if found then
      return found, passed, total_before
    end
    chunk = chunk * 2
  end
  -- The newest entry is not in the ring. No units come after it.
  return newest, length, total_before
end

-- Removes all entries before the one that `search` finds. Returns its time and the total before it.
local function drop(limit, state, horizon, most)
  local oldest, dropped, total_before = search(limit, state, horizon, most)
  local size, head, length = read_header(limit, state)
  if dropped > 0 then
    write_header(limit, state, size, (head + dropped) % size, length - dropped)
  end
  state[limit[AT] + OLDEST] = oldest
  return oldest, total_before
end

local function clear(limit, state)
  write_header(limit, state, read_header(limit, state), 0, 0)
end

-- Removes what has left the window. Returns the units in use and the time of the oldest entry.
local function age(limit, state, horizon)
  local at = limit[AT]
  if state[at + NEWEST] <= horizon then
    clear(limit, state)
    state[at] = 0
    return 0, 0
  end
  local oldest, total_before = drop(limit, state, horizon, TOTALS)
  local used = (state[at + TOTAL] - total_before) % TOTALS
  state[at] = used
  return used, oldest
end

-- A larger ring, rewritten from its oldest entry on.
local function grow(state, offset, size, head)
  local rest = state[REST] or call("GETRANGE", state[KEY], state[POLICY].bytes .. "", "-1")
  local larger = min(size + floor(size / 2) + 2, MOST)
  local turn, stop = offset + head * ENTRY_BYTES, offset + size * ENTRY_BYTES
  local spare = ("\0"):rep((larger - size) * ENTRY_BYTES)
  state[REST] = rest:sub(1, offset) .. rest:sub(turn + 1, stop) .. rest:sub(offset + 1, turn) .. spare .. rest:sub(stop + 1)
  return larger, 0
end

-- Appends an entry. If the ring holds MOST, the entry stays merged with the newest: it leaves later, so no limit is loosened.
local function push(limit, state, time, total)
  local offset = offset_of(limit, state)
  local size, head, length = read_header(limit, state)
  if length == MOST then
    return
  elseif length >= size then
    size, head = grow(state, offset, size, head)
  end

  local rest, place = state[REST], offset + (head + length) % size * ENTRY_BYTES
  local entry = struct.pack(ENTRY_FORMAT, time % TIMES, total)
  if rest then
    state[REST] = rest:sub(1, place) .. entry .. rest:sub(place + ENTRY_BYTES + 1)
  else
    call("SETRANGE", state[KEY], state[POLICY].bytes + place .. "", entry)
  end
  write_header(limit, state, size, head, length + 1)
end

return {
  search = search, age = age, push = push,
  read = read, read_header = read_header, write_header = write_header, offset_of = offset_of,
}
