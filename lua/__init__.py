"""The script that decides, put together from its parts.

Read `take.lua` first, then one of the kinds (`token_bucket.lua` is the shortest), then `state.lua`.
"""

import hashlib
from importlib.resources import files

# In this order. The body of a function each, but for three: a call that has no need of a part does not pay for it.
PARTS = ("prelude", "sliding_window", "token_bucket", "quota", "kinds", "state", "take")
OPEN = {"prelude", "kinds", "take"}


def _part(name: str) -> str:
    text = files(__package__).joinpath(f"{name}.lua").read_text("utf-8")
    return text if name in OPEN else f"local function make_{name}()\n{text}end\n"


SOURCE = "\n".join(map(_part, PARTS)).encode()

# Redis knows a script by this digest of its source.
SHA = hashlib.sha1(SOURCE, usedforsecurity=False).hexdigest().encode()
