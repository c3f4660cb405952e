"""The script that decides, put together from its parts.

Read `take.lua` first, then one of the kinds (`token_bucket.lua` is the shortest), then `state.lua`.
"""

import hashlib
from importlib.resources import files

# Each part is the body of a function, called once and kept under its name; the first and the last are not: the names that all use, and
# what runs.
MODULES = ("sliding_window", "token_bucket", "quota", "state")


def _part(name: str) -> str:
    return files(__package__).joinpath(f"{name}.lua").read_text("utf-8")


SOURCE = "\n".join([_part("prelude"), *(f"local {name} = (function()\n{_part(name)}end)()" for name in MODULES), _part("take")]).encode()

# Redis knows a script by this digest of its source.
SHA = hashlib.sha1(SOURCE, usedforsecurity=False).hexdigest().encode()
