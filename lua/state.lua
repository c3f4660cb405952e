-- state: one string holds what a subject has used of every limit of a policy.
--
-- Layout   shape (of the policy that wrote it), the fields of each limit; the rings of those that keep one, the tag of each, how many there
--          are (in the lowest five bits; above them, the number of this layout)
--
-- A decision reads what stands before the rings, and writes it again. A limit of which nothing was used is all zeros. A policy whose shape
-- is still the stored one, which is nearly always so, reads it as it stands; after an edit the limits are matched by tag (kind and name),
-- so that each keeps its count wherever it now stands in the policy. What is of another layout counts for nothing.

local unpack = struct.unpack
local sub, byte, floor = string.sub, string.byte, math.floor
local COUNTS = 32

-- The fields and the ring of each limit, by its tag, in the policy that wrote `blob`.
local function parts_by_tag(blob)
  local count = byte(blob, -1) % COUNTS
  local position, parts, rings = 5, {}, {}
  for i = 1, count do
    local tag = unpack(">I4", blob, #blob - 4 * (count + 1 - i))
    local kind = kind_of(tag % KINDS)
    local fields = { unpack("<" .. kind[KIND_FORMAT], blob, position) }
    local part = { fields = fields, ring = "" }
    position = fields[kind[KIND_COUNT] + 1]
    if kind[KIND_ENTRY] then
      part.length = floor(fields[kind[KIND_COUNT]] / 65536) * kind[KIND_ENTRY]
      rings[#rings + 1] = part
    end
    parts[tag] = part
  end
  for _, part in ipairs(rings) do
    part.ring = sub(blob, position, position + part.length - 1)
    position = position + part.length
  end
  return parts
end

-- A subject's state for a policy of another shape than the stored one, if there is one; all of it is to be written. Nothing, if the key
-- holds no string.
local function shape(key, policy)
  local blob = redis.pcall("GET", key)
  if type(blob) == "table" then
    return nil
  end
  local layout = floor((blob and byte(blob, -1) or 0) / COUNTS)
  local parts = layout == floor(byte(policy.tags, -1) / COUNTS) and parts_by_tag(blob) or {}
  local state, body = { key, policy, false, policy.shape }, ""
  for _, limit in ipairs(policy) do
    local part = parts[limit[TAG]]
    for i = 1, kind_of(limit[TAG] % KINDS)[KIND_COUNT] do
      state[#state + 1] = part and part.fields[i] or 0
    end
    body = part and body .. part.ring or body
  end
  state[BODY] = body .. policy.tags
  return state
end

return shape
