-- prelude: names that every part uses.

-- Waits that are none: for a cost above the capacity; for a time outside the bounds of a quota.
local NEVER, STALE = -1, -2

-- A limit is an array, as that is cheaper to make than a table with names: what came on the wire, with `take` in the place of its kind's
-- number, and behind it, in the place of where the next one begins there, where its fields begin in a state.
local TAKE, SHADOW, TAG, CAPACITY, A, B, C, D, AT = 1, 2, 3, 4, 5, 6, 7, 8, 9

-- So is a subject's state: its key; its policy; what is to be written behind the fields, if that is not what stands there (else false); and
-- the fields: a shape, then those of each limit.
local KEY, POLICY, BODY, SHAPE = 1, 2, 3, 4

-- And a kind: its `take`, the format of its fields, how many they are, their bytes, and those of an entry, if it keeps a ring.
local KIND_TAKE, KIND_FORMAT, KIND_COUNT, KIND_SIZE, KIND_ENTRY = 1, 2, 3, 4, 5

-- What deals with rings, made when first asked for; and with kinds.
local ring, kind_of

-- A limit's tag tells its kind.
local KINDS = 4
