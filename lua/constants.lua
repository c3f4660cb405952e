-- constants: names that every file knows.
--
-- Limits and states are arrays with named slots. With named fields, limits would take 4 % more instructions in a lone decision, and states
-- 2 % more in a batch.

-- A limit: its kind (a module), then what came on the wire, then the slot of its first field in a state.
local KIND <const>, SHADOW <const>, TAG <const>, CAPACITY <const> = 1, 2, 3, 4
local A <const>, B <const>, C <const>, D <const>, AT <const> = 5, 6, 7, 8, 9

-- The state of a subject: its key; its policy; the bytes to write behind the fields (false: those in Redis stay); the shape, which is the
-- first number in Redis; then the fields of each limit.
local KEY <const>, POLICY <const>, REST <const>, SHAPE <const> = 1, 2, 3, 4

-- A wait that is not a time: the cost exceeds the capacity; the time is outside the bounds of a quota.
local NEVER <const>, STALE <const> = -1, -2

-- The largest time: doubles hold integers exactly up to here.
local FOREVER <const> = 2 ^ 53

-- The size of an entry in a ring.
local ENTRY_BYTES <const> = 9
