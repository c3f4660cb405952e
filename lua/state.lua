-- state: one string holds what a subject has used of every limit of a policy.
--
-- Layout   shape (of the policy that wrote it), the state of each limit, the tag of each, how many there are
--
-- A limit's state is a record, all zeros where nothing was used; a sliding window's ends with the number of log entries behind it.
-- A policy whose shape is still the stored one, which is nearly always so, reads it as it stands. After an edit the limits are
-- matched by tag (kind and name), so that each keeps its count wherever it now stands in the policy.

-- What each limit had, by its tag, in the policy that wrote `blob`.
local function states_by_tag(blob)
  local position, states = FIRST_LIMIT, {}
  for i = byte(blob, -1), 1, -1 do
    local tag = unpack(">I4", blob, #blob - 4 * i)
    local _, size, entry = KINDS[tag % 4]()
    if entry then
      size = size + entry * unpack("<I2", blob, position + size - 2)
    end
    states[tag] = sub(blob, position, position + size - 1)
    position = position + size
  end
  return states
end

-- A subject's state in the shape of `policy`: of nothing stored, or of what another policy wrote.
local function shape(policy, blob)
  local states, parts = blob and states_by_tag(blob) or {}, { policy.head }
  for i, limit in ipairs(policy) do
    local tag = limit[TAG]
    local _, size = KINDS[tag % 4]()
    parts[i + 1] = states[tag] or ("\0"):rep(size)
  end
  return concat(parts) .. policy.tags
end

return shape
