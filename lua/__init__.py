"""The script that decides, assembled from the Lua files of this folder.

Read `take.lua` first, then a kind of limit (`quota.lua` is the shortest), then `ring.lua`.

Each file is ordinary Lua. Assembling them takes two steps:

- Constants. `local MOST <const> = 128` is Lua 5.4's syntax for a compile-time constant. Redis runs Lua 5.1, which does not have it, so the
  name is replaced by its value wherever the file uses it. The constants of `constants.lua` are known in every file.
- Modules. `require.lua` defines `require`, which finds the other files by name.

`docs/decisions/0011-what-the-lua-tricks-buy.md` says what each step saves. The scripts in `registry/` are used as they are.
"""

import hashlib
import re
from importlib.resources import files

MODULES = ("sliding_window", "token_bucket", "quota", "ring", "refund", "reshape", "once")

_DECLARATION = re.compile(r"^local ([A-Z_]+ <const>(?:, [A-Z_]+ <const>)*) = (.+)$", re.MULTILINE)
# Strings and comments match first, so that names inside them stay as they are.
_NAME = re.compile(r'"[^"]*"|--.*|\b[A-Z][A-Z_]*\b')


def read(name: str) -> str:
    return files("limiter.lua").joinpath(f"{name}.lua").read_text("utf-8")


def constants(text: str) -> dict[str, str]:
    """The constants that a file declares, with their values as the file writes them."""
    declared: dict[str, str] = {}
    for names, values in _DECLARATION.findall(text):
        declared.update(zip(names.replace(" <const>", "").split(", "), values.split(", "), strict=True))
    return declared


def _fold(text: str) -> str:
    """The file with its constants replaced by their values; a value may name a constant of `constants.lua`."""
    shared = constants(read("constants"))
    values = shared | {name: shared.get(value, value) for name, value in constants(text).items()}
    return _NAME.sub(lambda match: values.get(match[0], match[0]), _DECLARATION.sub("", text))


def _assemble() -> str:
    modules = "".join(f"{name} = function()\n{_fold(read(name))}end,\n" for name in MODULES)
    return read("require").replace("-- MODULES\n", modules) + _fold(read("take"))


SOURCE = _assemble().encode()

# Redis finds the script by the SHA-1 of its source.
SHA = hashlib.sha1(SOURCE, usedforsecurity=False).hexdigest().encode()
