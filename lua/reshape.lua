-- reshape: reads a state that does not exist, was written under another version of the policy, or keeps limits that the policy lacks.
--
-- Layout   of a state: shape (of the policy that wrote it), the fields of each limit, the rings of those that keep one, the kept limits,
--          and the ending: how long a unit of each limit counts (us), the tag of each, a last byte (32 * the number of this layout + the
--          number of limits)
-- Kept     limits that the policy lacks: for each the time when it is over, its tag, its fields and its ring; then the times when the first
--          and the last are over. Without such limits, this is empty.
--
-- Earlier versions wrote neither the times in the ending nor kept limits, and skip both when they read a state. A string of another layout
-- and one of another program have no parts.
--
-- A shape is a digest of an ending, and a tag of a limit's kind and name. If the stored shape is that of the policy, which is
-- nearly always so, `take.lua` reads the fields as they stand. Otherwise limits are matched by tag, and each keeps its count wherever it
-- now stands in the policy. All fields of an unused limit are 0.
--
-- A limit that the policy lacks is kept until it is over: while versions of a policy are in use side by side, a call under one must not
-- erase the counts of another. A state with kept limits has a marked shape, so that it is read here, and it lives until the last of them is
-- over. Until the first is over, the other limits are read and written in place, as usual.
--
-- Bound    at most as many kept limits as a policy can have; those that are over last stay

-- The last byte modulo 32 is the number of limits, and a tag modulo 4 the number of its kind.
local COUNT_MODULUS <const>, KIND_MODULUS <const> = 32, 4
local TAG_BYTES <const>, LIFE_BYTES <const> = 4, 8
-- A time and a tag.
local KEPT_FORMAT <const>, KEPT_BYTES <const> = "<dI4", 12
local MOST_ENTRIES <const> = 128
local MARK <const> = 2 ^ 32 - 1
local TIMES_FORMAT <const>, TIMES_BYTES <const> = "<dd", 16
-- All rings of 32 sliding windows take 38 KB. A longer string is not ours.
local MOST_KEPT <const>, MOST_BYTES <const> = 16, 65536
-- 40 days, more than a month, if the expiry of the state is not known.
local LONGEST <const> = 3456000000000
local BUCKET <const>, QUOTA <const> = 1, 2

local call, decode, encode = redis.call, struct.unpack, struct.pack

-- Reads the fields of a limit. Returns the part and the position behind it, or nil if they are not ours.
local function part_at(blob, position, stop, tag, kinds)
  local name = kinds[tag % KIND_MODULUS]
  local kind = name and require(name)
  if not kind or position + kind.bytes > stop then
    return nil
  end
  local fields, ring_bytes = { decode("<" .. kind.format, blob, position) }, 0
  for i = 1, kind.fields do
    if not (fields[i] >= 0 and fields[i] <= FOREVER) then
      return nil
    end
  end
  if kind.entry_bytes then
    ring_bytes = math.floor(fields[kind.fields] / 65536) * kind.entry_bytes
  end
  local behind = position + kind.bytes
  local part = { tag = tag, number = tag % KIND_MODULUS, fields = fields, stored = blob:sub(position, behind - 1), ring_bytes = ring_bytes }
  return ring_bytes <= MOST_ENTRIES * ENTRY_BYTES and part or nil, behind
end

local function read_ring(part, blob, position)
  part.ring = blob:sub(position, position + part.ring_bytes - 1)
  return position + part.ring_bytes
end

-- The limits of the policy that wrote the state, and the position behind their rings.
local function own_parts(blob, count, tags_at, kinds)
  local position, parts = 5, {}
  for i = 1, count do
    local tag = decode(">I4", blob, tags_at + TAG_BYTES * (i - 1))
    parts[i], position = part_at(blob, position, tags_at, tag, kinds)
    if not parts[i] then
      return nil
    end
  end
  for i = 1, count do
    position = read_ring(parts[i], blob, position)
  end
  return parts, position
end

-- Appends the kept limits. Returns false if they do not end where they must.
local function add_kept(parts, blob, position, stop, kinds)
  while position + KEPT_BYTES <= stop do
    local over, tag, part
    over, tag, position = decode(KEPT_FORMAT, blob, position)
    part, position = part_at(blob, position, stop, tag, kinds)
    if not part or over > FOREVER or over ~= over then
      return false
    end
    part.over, position = over, read_ring(part, blob, position)
    parts[#parts + 1] = part
  end
  return position == stop
end

-- Each part has: tag, number (of its kind), fields, stored (the fields as bytes), ring; life, if the policy that wrote the state had this
-- limit and its version stored it; over, if the limit was kept.
local function parts_of(blob, layout, kinds)
  local last = blob:byte(-1) or 0
  local count = last % COUNT_MODULUS
  local tags_at = #blob - TAG_BYTES * count
  if last - count ~= layout or count == 0 or tags_at < 5 then
    return {}
  end

  local parts, position = own_parts(blob, count, tags_at, kinds)
  local lives_at = tags_at - LIFE_BYTES * count
  if parts and position == tags_at then
    return parts
  elseif not parts or position > lives_at then
    return {}
  elseif position < lives_at and not add_kept(parts, blob, position, lives_at - TIMES_BYTES, kinds) then
    return {}
  end
  for i = 1, count do
    parts[i].life = decode("<d", blob, lives_at + LIFE_BYTES * (i - 1))
  end
  return parts
end

-- By number of the kind: the field with the time of the last charge; for a bucket, the time since which its units refill.
local time_fields = { [0] = 4, 2, 2 }

-- When a limit is over that the policy lacks. A quota does not store the end of its period: that is not later than the longest period after
-- the last charge, and not later than the key expires.
local function over_at(part, key, now, spare_ms)
  local time, used, over = part.fields[time_fields[part.number]], part.fields[1], FOREVER
  if part.life then
    -- A unit of a bucket may be back in a fraction of a microsecond after that.
    over = time + part.life * (part.number == BUCKET and used or used > 0 and 1 or 0) + 1
  end
  if part.life and part.number ~= QUOTA then
    return over
  end
  -- An error if the user of this connection may not call it.
  local left = redis.pcall("PTTL", key)
  local known = type(left) == "number" and left >= 0
  local expiry = (time > now and time or now) + (known and (left - spare_ms) * 1000 or LONGEST)
  return over < expiry and over or expiry
end

-- The bytes of the kept limits, and how long the last of them is in force.
local function keep(parts, key, now, spare_ms)
  local kept = {}
  for _, part in ipairs(parts) do
    part.over = part.over or over_at(part, key, now, spare_ms)
    if part.over > now then
      kept[#kept + 1] = part
    end
  end
  table.sort(kept, function(one, other)
    return one.over > other.over
  end)

  local count, bytes = math.min(#kept, MOST_KEPT), {}
  for i = 1, count do
    local part = kept[i]
    bytes[i] = encode(KEPT_FORMAT, part.over, part.tag) .. part.stored .. part.ring
  end
  if count == 0 then
    return "", 0
  end
  return table.concat(bytes) .. encode(TIMES_FORMAT, kept[count].over, kept[1].over), kept[1].over - now
end

-- How long the kept limits of a state are in force, if none of them is over yet.
local function kept_for(key, policy, now)
  if not policy.times_from then
    policy.times_from, policy.times_to = -#policy.ending - TIMES_BYTES .. "", -#policy.ending - 1 .. ""
  end
  local times = call("GETRANGE", key, policy.times_from, policy.times_to)
  if #times == TIMES_BYTES then
    local first, last = decode(TIMES_FORMAT, times)
    return first > now and last - now or nil
  end
end

-- The state of a subject, and for how long it has to live at least. `state` is what `take.lua` has read, if it was long enough.
local function read(key, policy, kinds, now, spare_ms, state)
  local longest = state and state[SHAPE] == MARK - policy.shape and kept_for(key, policy, now)
  if longest then
    return state, longest
  end

  local layout = policy.ending:byte(-1) - policy.limits
  local blob = call("GETRANGE", key, "0", MOST_BYTES .. "")
  local parts, own, rings = blob ~= "" and parts_of(blob, layout, kinds) or {}, {}, ""
  for _, part in ipairs(parts) do
    own[part.tag] = part
  end
  state = { key, policy, false, policy.shape }
  for _, limit in ipairs(policy) do
    local part = own[limit[TAG]]
    for i = 1, limit[KIND].fields do
      state[#state + 1] = part and part.fields[i] or 0
    end
    if part then
      -- Not kept, as the policy has it.
      rings, part.over = rings .. part.ring, 0
    end
  end
  local bytes
  bytes, longest = keep(parts, key, now, spare_ms)
  if bytes ~= "" then
    state[SHAPE] = MARK - policy.shape
  end
  state[REST] = rings .. bytes .. policy.ending
  return state, longest
end

return { read = read }
