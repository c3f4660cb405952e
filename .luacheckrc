-- What Redis gives a script: Lua 5.1 without io, os and modules, and its own names. `require` is that of lua/require.lua.
std = {
  read_globals = {
    "_VERSION", "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawset", "select",
    "setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall",
    "coroutine", "math", "string", "table",
    "redis", "KEYS", "ARGV", "bit", "cjson", "cmsgpack", "struct", "require",
  },
}
max_line_length = 140
codes = true

-- Every file knows the constants of lua/constants.lua.
read_globals = {}
for line in io.lines("lua/constants.lua") do
  for name in line:gmatch("([A-Z_]+) <const>") do
    read_globals[#read_globals + 1] = name
  end
end

-- Unused there, and defined there.
files["lua/constants.lua"].ignore = { "211" }
files["lua/require.lua"].ignore = { "211" }

-- The scripts of the gateways run in other programs.
files["examples/gateways/apache"] = { std = "lua53", read_globals = { "apache2" }, globals = { "authorize", "authorize_or_pass" } }
files["examples/gateways/haproxy"] = { std = "lua53", read_globals = { "core" } }
