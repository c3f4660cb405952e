-- kinds: the kinds of limit, by the number that stands for each on the wire; one is made only when a call has need of it.
--
-- The file of each returns take(limit, state, now, cost); the format of its fields, how many they are and their bytes; and the bytes of an
-- entry, if it keeps a ring (its last field is then the ring's). `take` answers
--   used, wait, reset     as things stand; wait is above 0 where there is no room for the cost now, and NEVER or STALE where that is so
--   left, later           what used and reset are if `cost` is charged: the state holds that then, and Redis is yet to be told
--   past, total           the entry that is then to be pushed into the ring, if one is; these four only where there is room
-- A cost below 0 gives back.

local kinds, made = { [0] = make_sliding_window, make_token_bucket, make_quota }, { [0] = false, false, false }

function kind_of(number)
  local kind = made[number]
  if not kind then
    kind = { kinds[number]() }
    made[number] = kind
  end
  return kind
end
