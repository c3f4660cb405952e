-- require: loads a module when a call first asks for it.
--
-- A call does not pay for modules that it does not use. Loading all of them would take 20 % more instructions in a lone decision.

local require

-- The files of this folder, each as `name = function() <text of the file> end`.
local modules = {
-- MODULES
}

function require(name)
  local module = modules[name]
  if type(module) == "function" then
    module = module()
    modules[name] = module
  end
  return module
end

