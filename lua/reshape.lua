-- reshape: reads a state that was written under another version of the policy, or does not exist.
--
-- Layout   of a state: shape (of the policy that wrote it), the fields of each limit, the rings of those that keep one, the tag of each
--          limit, a last byte (32 * the number of this layout + the number of limits)
--
-- A shape is a digest of the tags, and a tag of a limit's kind and name. If the stored shape is that of the policy, which is nearly always
-- so, `take.lua` reads the fields as they stand. Otherwise limits are matched by tag, and each keeps its count wherever it now stands in
-- the policy. All fields of an unused limit are 0. A state of another layout counts as unused.

-- The last byte modulo 32 is the number of limits, and a tag modulo 4 the number of its kind.
local COUNT_MODULUS <const>, KIND_MODULUS <const> = 32, 4

-- The fields and the ring of each limit that the blob holds, by tag.
local function parts_by_tag(blob, kinds)
  local count = blob:byte(-1) % COUNT_MODULUS
  local position, parts, rings = 5, {}, {}
  for i = 1, count do
    local tag = struct.unpack(">I4", blob, #blob - 4 * (count + 1 - i))
    local kind = require(kinds[tag % KIND_MODULUS])
    local fields = { struct.unpack("<" .. kind.format, blob, position) }
    local part = { fields = fields, ring = "" }
    position = fields[kind.fields + 1]
    if kind.entry_bytes then
      part.length = math.floor(fields[kind.fields] / 65536) * kind.entry_bytes
      rings[#rings + 1] = part
    end
    parts[tag] = part
  end
  for _, part in ipairs(rings) do
    part.ring = blob:sub(position, position + part.length - 1)
    position = position + part.length
  end
  return parts
end

local function layout_of(bytes)
  return math.floor((bytes and bytes:byte(-1) or 0) / COUNT_MODULUS)
end

-- The state of a subject, to be written whole.
local function read(key, policy, kinds)
  local blob = redis.call("GET", key)
  local parts = layout_of(blob) == layout_of(policy.tags) and parts_by_tag(blob, kinds) or {}
  local state, rings = { key, policy, false, policy.shape }, ""
  for _, limit in ipairs(policy) do
    local part = parts[limit[TAG]]
    for i = 1, limit[KIND].fields do
      state[#state + 1] = part and part.fields[i] or 0
    end
    rings = part and rings .. part.ring or rings
  end
  state[REST] = rings .. policy.tags
  return state
end

return { read = read }
