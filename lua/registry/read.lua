-- read: reads keys together with their accounts.
--
-- KEYS      for each key two: the generation of its account, and the records of its account (hash)
-- ARGV      the ids of the keys
-- Reply     the time: seconds, microseconds; then for each key two values: the generation, and the records of the account and of the key
--
-- What does not exist is nil. What cannot be read is an error in its place, so that it does not fail the others.

local call, attempt = redis.call, redis.pcall

local time = call("TIME")
local reply = { time[1], time[2] }
for i = 1, #ARGV do
  reply[2 * i + 1] = attempt("GET", KEYS[2 * i - 1])
  reply[2 * i + 2] = attempt("HMGET", KEYS[2 * i], "account", ARGV[i])
end
return reply
