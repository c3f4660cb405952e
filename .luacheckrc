-- What Redis gives a script: Lua 5.1 without io, os and modules, and its own names.
std = {
  read_globals = {
    "_VERSION", "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawset", "select",
    "setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall",
    "coroutine", "math", "string", "table",
    "redis", "KEYS", "ARGV", "bit", "cjson", "cmsgpack", "struct",
  },
}
max_line_length = 140
codes = true
