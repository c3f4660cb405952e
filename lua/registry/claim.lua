-- claim: points a digest at a key, if it still points where the caller read.
--
-- KEYS      1 pointer
-- ARGV      1 its old value, 2 its new value ("": none)
-- Reply     1 if it was changed, 0 if it no longer has its old value

local call = redis.call

if (call("GET", KEYS[1]) or "") ~= ARGV[1] then
  return 0
end
if ARGV[2] == "" then
  call("DEL", KEYS[1])
else
  call("SET", KEYS[1], ARGV[2])
end
return 1
