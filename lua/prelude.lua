-- prelude: names that every part uses.

local call, unpack, pack = redis.call, struct.unpack, struct.pack
local sub, byte, format, concat = string.sub, string.byte, string.format, table.concat
local floor, ceil = math.floor, math.ceil

-- Waits that are none: for a cost above the capacity; for a time outside the bounds of a quota.
local NEVER, STALE = -1, -2

-- Where the first limit's state begins, after the shape of the policy that wrote it.
local FIRST_LIMIT = 5
