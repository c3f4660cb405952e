-- delete: deletes an account with all its records.
--
-- KEYS      1 generation, 2 records (hash), 3 ids of the keys (sorted set), 4 last uses (hash), 5 audit (stream)
-- ARGV      1 time in us, or ""; 2 the account's record as the caller read it; 3 the most keys that it may have; 4 number of audit entries
--           to keep; then the fields of the audit entry
-- Reply     the account's last generation; 0 if the record has changed since it was read; -1 if the account has more keys
--
-- The generation stays for a day, increased: sidecars that still cache the account are refused, and a clock that is set back meanwhile
-- cannot give a new account of the same name a generation that they have cached.

local call, format = redis.call, string.format
local DAY_MS = 86400000

local now = tonumber(ARGV[1])
if not now then
  local time = call("TIME")
  now = time[1] * 1000000 + time[2]
end

if call("HGET", KEYS[2], "account") ~= ARGV[2] then
  return 0
end
if call("ZCARD", KEYS[3]) > tonumber(ARGV[3]) then
  return -1
end

local generation = tonumber(call("GET", KEYS[1]) or 0) + 1
if generation < now then
  generation = now
end
call("SET", KEYS[1], format("%.0f", generation), "PX", DAY_MS)
call("UNLINK", KEYS[2], KEYS[3], KEYS[4])

call("XADD", KEYS[5], "MAXLEN", "~", ARGV[4], "*", "at_us", format("%.0f", now), unpack(ARGV, 5))
return generation
