-- registry_claim: makes a digest point at a key, if it still points where it was read to.
-- KEYS      1 pointer
-- ARGV      1 what it was read as, 2 what it becomes; "" is none
-- Reply     1: done; 0: it points elsewhere by now

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
