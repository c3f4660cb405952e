-- change: changes records of an account, all of them or none.
--
-- KEYS      1 generation, 2 records (hash), 3 ids of the keys in order (sorted set), 4 last uses (hash), 5 audit (stream)
-- ARGV      1 time in us, or ""; 2 deadline in us, or ""; 3 number of audit entries to keep; 4 number of records, then for each of them
--           its field, its old text and its new text ("": no record); then the fields of the audit entry
-- Reply     the account's new generation; 0 if a record no longer has its old text, or if the deadline has passed
--
-- A record is text that only Python interprets. It is replaced only if it still has the text that the caller read: of two changes based
-- on the same read, one succeeds and the other has to read again.

local call, format = redis.call, string.format
local ACCOUNT = "account"

local now = tonumber(ARGV[1])
if not now then
  local time = call("TIME")
  now = time[1] * 1000000 + time[2]
end

if now > (tonumber(ARGV[2]) or now) then
  return 0
end

local first, last = 5, 4 + 3 * ARGV[4]
for i = first, last, 3 do
  if (call("HGET", KEYS[2], ARGV[i]) or "") ~= ARGV[i + 1] then
    return 0
  end
end

for i = first, last, 3 do
  local field, before, after = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if after == "" then
    call("HDEL", KEYS[2], field)
    call("ZREM", KEYS[3], field)
    call("HDEL", KEYS[4], field)
  elseif after ~= before then
    call("HSET", KEYS[2], field, after)
  end
  if before == "" and field ~= ACCOUNT then
    call("ZADD", KEYS[3], 0, field)
  end
end

-- The time, so that an account that is deleted and created again never reuses a generation; and always more than before.
local generation = tonumber(call("GET", KEYS[1]) or 0) + 1
if generation < now then
  generation = now
end
call("SET", KEYS[1], format("%.0f", generation))

local fields = {}
for i = last + 1, #ARGV do
  fields[#fields + 1] = ARGV[i]
end
call("XADD", KEYS[5], "MAXLEN", "~", ARGV[3], "*", "at_us", format("%.0f", now), unpack(fields))
return generation
