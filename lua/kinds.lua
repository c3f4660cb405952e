-- kinds: the kinds of limit by the number that stands for each on the wire; one is made only when a call has need of it.

local MAKERS = { [0] = make_sliding_window, make_token_bucket, make_quota }
local made = { [0] = false, false, false }

local function kind_of(number)
  local kind = made[number]
  if not kind then
    kind = MAKERS[number]()
    made[number] = kind
  end
  return kind
end
