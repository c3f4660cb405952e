-- kinds: the kinds of limit, by the number that stands for each on the wire; one is made only when a call has need of it.
--
-- The file of each returns the bytes of its record, those of a log entry if it keeps a log (then the record ends with their number),
-- and before these take(limit, blob, position, now, cost), which charges nothing itself. A cost below 0 gives back. It answers
--   after                 where the next limit's state begins
--   used, wait, reset     as things stand; wait is above 0 where there is no room for the cost now, and NEVER or STALE where that is so
--   left, later           what used and reset are if `cost` is charged
--   record, log, entry    what the state then is, in up to three pieces; these, `left` and `later` only where there is room

local KINDS = { [0] = make_sliding_window, make_token_bucket, make_quota }
local made = { [0] = false, false, false }

local function take_of(kind)
  local take = made[kind]
  if not take then
    take = KINDS[kind]()
    made[kind] = take
  end
  return take
end
