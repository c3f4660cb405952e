-- prelude: names that every part uses.

local call, spread = redis.call, unpack
local unpack, pack = struct.unpack, struct.pack
local sub, byte, format, concat = string.sub, string.byte, string.format, table.concat
local floor, ceil = math.floor, math.ceil

-- Waits that are none: for a cost above the capacity; for a time outside the bounds of a quota.
local NEVER, STALE = -1, -2

-- A state begins with the shape of the policy that wrote it; then comes the first limit's.
local SHAPE, FIRST_LIMIT = ">I4", 5

-- A limit is an array, as it is cheaper to make than a table with names: its capacity, the four arguments of its kind, and these.
local TAKE, SHADOW, TAG = 6, 7, 8
