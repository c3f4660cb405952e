-- once: remembers what a group with an idempotency key has charged, so that the same group, sent again, charges nothing.
--
-- Value    8-byte integers: the digest of the group, the time of the decision, then three numbers for each limit, as in the reply
-- Expiry   10 minutes after the decision
--
-- Only a group that charged is remembered. A denial charges nothing, so it is decided again.

local DIGEST_BYTES <const>, NUMBER_BYTES <const> = 8, 8
local KEPT_US <const> = 600000000
-- Verdicts of take.lua.
local ALLOWED <const>, UNREADABLE <const>, REPEATED <const>, REUSED <const> = 1, 4, 5, 6

-- The verdict on a group with this key and digest so far, and what is remembered of it.
local function recall(key, digest)
  local stored = redis.pcall("GET", key)
  if not stored then
    return ALLOWED, { key, digest }
  elseif stored.err or #stored < DIGEST_BYTES or #stored % NUMBER_BYTES ~= 0 then
    return UNREADABLE, nil
  elseif struct.unpack(">i8", stored) ~= digest then
    return REUSED, nil
  end
  return REPEATED, stored
end

-- Appends the remembered time and numbers to the answers behind `last`. Returns the number of answers and true, or `last` and false if
-- the group has another number of limits.
local function repeat_answer(stored, answers, last, limits)
  local count = #stored / NUMBER_BYTES - 1
  if count ~= 1 + 3 * limits then
    return last, false
  end
  for i = 1, count do
    answers[last + i] = struct.unpack(">i8", stored, NUMBER_BYTES * i + 1)
  end
  return last + count, true
end

-- Remembers the answers from `first` to `last`.
local function remember(once, now, ahead_ms, answers, first, last)
  local numbers = struct.pack(">" .. ("i8"):rep(2 + last - first + 1), once[2], now, unpack(answers, first, last))
  redis.call("SET", once[1], numbers, "PXAT", math.ceil((now + KEPT_US) / 1000) + ahead_ms .. "")
end

return { recall = recall, repeat_answer = repeat_answer, remember = remember }
