-- used: records that keys of an account were used just now.
--
-- KEYS      1 records (hash), 2 last uses (hash)
-- ARGV      1 time in us, or ""; then the ids of the keys
-- Reply     the time
--
-- A key that was deleted meanwhile is skipped, as nothing would ever remove its entry.

local call, format = redis.call, string.format

local now = tonumber(ARGV[1])
if not now then
  local time = call("TIME")
  now = time[1] * 1000000 + time[2]
end

for i = 2, #ARGV do
  if call("HEXISTS", KEYS[1], ARGV[i]) == 1 then
    call("HSET", KEYS[2], ARGV[i], format("%.0f", now))
  end
end
return now
