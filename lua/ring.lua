-- ring: the entries of a limit's log, which stand behind the fields of a state; only those are read and written that a decision needs.
--
-- Layout   entries of (time, total), from `first` on, in a room that grows; room, first and count are a byte each in a field of the limit
--
-- Totals run on, so that what came between two entries is the difference of theirs, and to look for one is a search. Times are kept modulo
-- 2^40 us and totals modulo 2^32: both above any window or capacity that the library lets through.

local call, unpack, pack = redis.call, struct.unpack, struct.pack
local sub, floor, min = string.sub, math.floor, math.min

-- Fields of a limit that keeps a ring, from its first on.
local TOTAL, OLDEST, NEWEST, RING = 1, 2, 3, 4
local FORMAT, SIZE = "<I5I4", 9
local MOST = 128
local TIMES, TOTALS = 2 ^ 40, 2 ^ 32

local function told(limit, state)
  local field = state[limit[AT] + RING]
  local count = field % 256
  return floor(field / 65536), (field - count) / 256 % 256, count
end

local function tell(limit, state, room, first, count)
  state[limit[AT] + RING] = room * 65536 + first * 256 + count
end

-- Where the ring begins, counted from the first byte behind the fields.
local function start_of(limit, state)
  local start = 0
  for _, other in ipairs(state[POLICY]) do
    if other == limit then
      return start
    elseif kind_of(other[TAG] % KINDS)[KIND_ENTRY] then
      start = start + told(other, state) * SIZE
    end
  end
end

local function read(state, start, length)
  local body, behind = state[BODY], state[POLICY].size
  if body then
    return sub(body, start + 1, start + length)
  end
  return call("GETRANGE", state[KEY], behind + start .. "", behind + start + length - 1 .. "")
end

-- The oldest entry later than `horizon` that has at most `most` after it: its time, how many come before it, and the last total before it.
local function search(limit, state, horizon, most)
  local at = limit[AT]
  local total, newest, start = state[at + TOTAL], state[at + NEWEST], start_of(limit, state)
  local room, first, count = told(limit, state)

  -- Most that are looked for stand near the front.
  local passed, through, chunk = 0, 0, 8
  while passed < count do
    local slot = (first + passed) % room
    local number = min(chunk, count - passed, room - slot)
    local entries = read(state, start + slot * SIZE, number * SIZE)
    local low, high, middle, found = 0, number, number - 1, nil
    while low < high do
      local time, sum = unpack(FORMAT, entries, middle * SIZE + 1)
      -- Whole again: none is 2^40 us older than the newest.
      time = newest - (newest - time) % TIMES
      if time > horizon and (total - sum) % TOTALS <= most then
        high, found = middle, time
      else
        low, through = middle + 1, sum
      end
      middle = floor((low + high) / 2)
    end
    passed = passed + low
    if found then
      return found, passed, through
    end
    chunk = chunk * 2
  end
  -- The newest stands behind the others, and is enough for whoever asks.
  return newest, count, through
end

-- Without all entries before the one that `search` finds.
local function drop(limit, state, horizon, most)
  local oldest, gone, through = search(limit, state, horizon, most)
  local room, first, count = told(limit, state)
  if gone > 0 then
    tell(limit, state, room, (first + gone) % room, count - gone)
  end
  state[limit[AT] + OLDEST] = oldest
  return oldest, through
end

local function clear(limit, state)
  tell(limit, state, told(limit, state), 0, 0)
end

-- What has left the window goes: what is then in use, and the time of the oldest entry.
local function age(limit, state, horizon)
  local at = limit[AT]
  if state[at + NEWEST] <= horizon then
    clear(limit, state)
    state[at] = 0
    return 0, 0
  end
  local oldest, through = drop(limit, state, horizon, TOTALS)
  local used = (state[at + TOTAL] - through) % TOTALS
  state[at] = used
  return used, oldest
end

-- An entry for what was the newest. Where there are too many, it stays in one with what comes: that leaves later, so no limit is loosened.
local function push(limit, state, time, total)
  local start = start_of(limit, state)
  local room, first, count = told(limit, state)
  if count == MOST then
    return
  elseif count == room then
    local body = state[BODY] or call("GETRANGE", state[KEY], state[POLICY].size .. "", "-1")
    local wider = min(room + floor(room / 2) + 2, MOST)
    local turn, to = start + first * SIZE, start + room * SIZE
    local spare = ("\0"):rep((wider - room) * SIZE)
    state[BODY] = sub(body, 1, start) .. sub(body, turn + 1, to) .. sub(body, start + 1, turn) .. spare .. sub(body, to + 1)
    room, first = wider, 0
  end

  local body, place = state[BODY], start + (first + count) % room * SIZE
  local entry = pack(FORMAT, time % TIMES, total)
  if body then
    state[BODY] = sub(body, 1, place) .. entry .. sub(body, place + SIZE + 1)
  else
    call("SETRANGE", state[KEY], state[POLICY].size + place .. "", entry)
  end
  tell(limit, state, room, first, count + 1)
end

return { search = search, drop = drop, clear = clear, age = age, push = push }
