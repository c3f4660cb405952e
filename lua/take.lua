-- take: decides groups of charges. Either every limit of a group is charged or none is.
--
-- KEYS      one for each line of ARGV[3]: the state of a (policy, subject), the generation of an account, or an idempotency key
-- ARGV[1]   the policies, packed: their number; then for each its shape, the number of its limits, the ending of a state (reshape.lua), and
--           its limits: kind, shadow (0 or 1), tag, capacity, a, b, c, d (the kind's file explains a to d)
-- ARGV[2]   "", or the time in microseconds (tests)
-- ARGV[3]   the lines, packed: operation (+ 16 on the first line of a group), policy (from 0), cost. The lines that can stand
--           before the charges have no policy: a guard has the generation of the account that the caller knows as its cost, and the line of
--           an idempotency key a digest of the group.
-- ARGV[4]   if there are refunds: for each of their lines, the time at which each limit was charged, or -1 if it was not
-- Reply     8-byte integers, packed: the time; then for each group its verdict and, if that is DENIED or ALLOWED, three numbers for each
--           limit: used (units), wait_us (0: there is room, -1: there never is) and reset_us. After REPEATED: the time at which the group
--           was allowed, and its numbers then.
--
-- A state is one string: a head (the shape, then the fields of each limit), the rings of the limits that keep one, and an ending, which
-- says what limits these are. A shape identifies the ending, so a state is read without a search unless the policy has changed
-- (reshape.lua).
--
-- A string that is not a state counts as an unused one, and a value of another type fails its group. Neither fails the call.
--
-- A denial writes nothing. If the clock goes backwards, no limit gets looser; each kind ensures this.
--
-- lua/__init__.py assembles the script: it replaces names in capitals by their values (constants.lua, and constants in this file) and
-- provides `require` (require.lua). A kind is a module with
--   take(limit, state, now, cost)   decides one limit
--   format, fields, bytes           format, number and size of its fields in a state
--   entry_bytes                     if it keeps a ring: the size of an entry (its last field then describes the ring)
-- and `take` returns
--   used, wait, reset               before the charge; wait is 0 if there is room for the cost; otherwise a time, NEVER or STALE
--   charged, charged_reset          used and reset after the charge, which the state table then holds; only if there is room
--   entry_time, entry_total         the entry to push into the ring, if any
--
-- A refund is decided like a take, by limits whose `take` gives back (refund.lua). A group with an idempotency key that has already charged
-- is not charged again (once.lua).

local kinds = { [0] = "sliding_window", "token_bucket", "quota" }
-- Operations besides taking, which is 0. All charges of a group have the same operation; a guard or an idempotency key
-- stands before them.
local PEEK <const>, REFUND <const>, GUARD <const>, ONCE <const> = 1, 2, 3, 4
local NEW_GROUP <const>, LINE_BYTES <const>, ENDING_BYTES <const> = 16, 11, 12
local DENIED <const>, ALLOWED <const> = 0, 1
local STALE_GENERATION <const>, STALE_BOUNDS <const>, UNREADABLE <const>, REPEATED <const> = 2, 3, 4, 5
-- Keys expire by the real clock, which injected time may not follow. With injected time, keys live a day longer.
local SPARE_MS <const> = 86400000
-- How many numbers are packed at a time. Lua's stack holds 8,000; a group has at most 3,073 (64 charges of 16 limits).
local CHUNK <const> = 900

-- The unusual code below was justified by counting the CPU instructions of Redis: see docs/decisions/0011-what-the-lua-tricks-buy.md.
-- Tables are created in the size that a decision of three limits needs: growing them costs 9 % more for a single decision.
-- Numbers for Redis become strings by `.. ""`: Redis's own conversion takes 16 % more in a batch.

-- Looking these functions up for each use takes 2 % more in a batch.
local call, attempt, decode, encode, byte = redis.call, redis.pcall, struct.unpack, struct.pack, string.byte

-- Parse the policies.

local policies, packed_policies = { nil }, ARGV[1]
local count, position = decode(">I2", packed_policies)
for index = 1, count do
  local shape, limits, ending_at = decode(">I4B", packed_policies, position)
  local policy = { nil, nil, nil, shape = shape, limits = limits, ending = 0, format = 0, bytes = 0, last_byte = 0, last_slot = 0 }
  position = ending_at + ENDING_BYTES * limits + 1
  policy.ending = packed_policies:sub(ending_at, position - 1)
  local format, bytes, slot = "<I4", 4, SHAPE
  for i = 1, limits do
    local number, shadow, tag, capacity, a, b, c, d
    number, shadow, tag, capacity, a, b, c, d, position = decode(">BBI4ddddd", packed_policies, position)
    local kind = require(kinds[number])
    policy[i] = { kind, shadow, tag, capacity, a, b, c, d, slot + 1 }
    format, bytes, slot = format .. kind.format, bytes + kind.bytes, slot + kind.fields
  end
  policy.format, policy.bytes, policy.last_byte, policy.last_slot = format, bytes, bytes - 1 .. "", slot
  policies[index] = policy
end

-- Read the time.

local time = call("TIME")
local now, ahead_ms, spare_ms = time[1] * 1000000 + time[2], 0, 0
if ARGV[2] ~= "" then
  local real_ms = math.ceil(now / 1000)
  now = tonumber(ARGV[2])
  ahead_ms, spare_ms = real_ms + SPARE_MS - math.floor(now / 1000), SPARE_MS
end

-- Decide each group. This is one long block because a function for each step costs 3 % more.

-- answers[1..last] is the reply so far. The numbers of the current group are first those after the charge; `standing` keeps used and reset
-- of its limits from before the charge.
local answers, last = { now, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 1
local standing = { 0, 0, 0, 0, 0, 0 }
-- What a charge of the group has to write: pairs of state and lifetime; and fours of limit, state, time and total.
local states, entries = { nil, nil }, nil
local lifetime, expires_at, reply
-- The position in ARGV[4].
local times_at = 1

local keys, packed_lines, lines, line = KEYS, ARGV[3], #KEYS, 1
while line <= lines do
  local verdict, peeks, refunds, first, stood, changed, pushed = ALLOWED, false, false, last + 1, 0, 0, 0
  local once
  last = first

  repeat
    -- Parse a line.
    local key, operation, index, cost = keys[line], decode(">BI2d", packed_lines, (line - 1) * LINE_BYTES + 1)
    operation = operation % NEW_GROUP
    line = line + 1

    if operation >= GUARD then
      if operation == ONCE then
        verdict, once = require("once").recall(key, cost)
      elseif tonumber(call("GET", key) or 0) ~= cost then
        verdict = STALE_GENERATION
      end
    else
      -- Read the state.
      local policy, limits, longest, state = policies[index + 1], 0, 0, nil
      local head = attempt("GETRANGE", key, "0", policy.last_byte)
      if head.err then
        -- The key does not hold a string. Leave it unchanged.
        verdict, cost = verdict > ALLOWED and verdict or UNREADABLE, 0
      else
        limits = policy.limits
        if #head == policy.bytes then
          state = { key, policy, false, decode(policy.format, head) }
        end
        -- The key does not exist, or was written under another version of the policy.
        if not state or state[SHAPE] ~= policy.shape then
          state, longest = require("reshape").read(key, policy, kinds, now, spare_ms, state)
        end
      end
      if operation == REFUND then
        policy, times_at = require("refund").limits(policy, ARGV[4], times_at)
        refunds = true
      end
      peeks = operation == PEEK

      -- Decide each limit.
      for i = 1, limits do
        local limit = policy[i]
        local used, wait, reset, charged, charged_reset, entry_time, entry_total = limit[KIND].take(limit, state, now, cost)
        if wait ~= 0 then
          -- STALE_BOUNDS outweighs DENIED, which outweighs ALLOWED. A shadow limit without room is not charged and denies nothing.
          charged, charged_reset = used, reset
          if wait == STALE then
            verdict = STALE_BOUNDS
          elseif verdict == ALLOWED and limit[SHADOW] == 0 then
            verdict = DENIED
          end
        elseif entry_time then
          entries = entries or {}
          entries[pushed + 1], entries[pushed + 2], entries[pushed + 3], entries[pushed + 4] = limit, state, entry_time, entry_total
          pushed = pushed + 4
        end
        standing[stood + 1], standing[stood + 2] = used, reset
        stood = stood + 2
        answers[last + 1], answers[last + 2], answers[last + 3] = charged, wait, charged_reset
        last = last + 3
        if charged_reset > longest then
          longest = charged_reset
        end
      end
      if (longest > FOREVER or longest ~= longest) and verdict <= ALLOWED then
        -- Such a time is not ours, and Redis would not accept it.
        verdict = UNREADABLE
      end
      -- A refund to a key that does not exist writes nothing.
      if cost > 0 and (head ~= "" or not refunds) then
        states[changed + 1], states[changed + 2] = state, longest
        changed = changed + 2
      end
    end
  until line > lines or byte(packed_lines, (line - 1) * LINE_BYTES + 1) >= NEW_GROUP

  answers[first] = verdict
  if verdict > ALLOWED then
    last = first
    if verdict == REPEATED then
      local fits
      last, fits = require("once").repeat_answer(once, answers, first, stood / 2)
      answers[first] = fits and REPEATED or UNREADABLE
    end
  elseif verdict == DENIED or peeks then
    -- Report the group as it stands.
    local at = first
    for i = 1, stood, 2 do
      answers[at + 1], answers[at + 3] = standing[i], standing[i + 1]
      at = at + 3
    end
  else
    -- Commit.
    for i = 1, pushed, 4 do
      require("ring").push(entries[i], entries[i + 1], entries[i + 2], entries[i + 3])
    end
    if refunds then
      require("refund").commit(states, changed)
    end
    for i = 1, changed, 2 do
      local state, longest = states[i], states[i + 1]
      local key, policy, rest = state[KEY], state[POLICY], state[REST]
      local head = encode(policy.format, unpack(state, SHAPE, policy.last_slot))
      if longest ~= lifetime then
        -- Rounded up, so never in the past. Most states of a batch live equally long: formatting the time for each takes 7 % more.
        lifetime, expires_at = longest, math.ceil((now + longest) / 1000) + ahead_ms .. ""
      end
      if rest then
        call("SET", key, head .. rest, "PXAT", expires_at)
      else
        call("SETRANGE", key, "0", head)
        call("PEXPIREAT", key, expires_at)
      end
    end
    if once then
      require("once").remember(once, now, ahead_ms, answers, first + 1, last)
    end
  end

  if last > CHUNK or line > lines then
    local numbers = encode(">" .. ("i8"):rep(last), unpack(answers, 1, last))
    reply, last = reply and reply .. numbers or numbers, 0
  end
end
return reply
