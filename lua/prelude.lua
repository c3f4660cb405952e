-- prelude: names that every part uses.

local call, spread = redis.call, unpack
local unpack, pack = struct.unpack, struct.pack
local sub, byte, format, concat = string.sub, string.byte, string.format, table.concat
local floor, ceil = math.floor, math.ceil

-- Waits that are none: for a cost above the capacity; for a time outside the bounds of a quota.
local NEVER, STALE = -1, -2

-- What a state begins with: the shape of the policy that wrote it, and when it expires (ms). Then the first limit's state.
local HEAD, FIRST_LIMIT = ">I4d", 13
