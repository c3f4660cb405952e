"""The script that decides, put together from its parts.

Read `take.lua` first, then one of the kinds (`token_bucket.lua` is the shortest), then `state.lua`.
"""

import hashlib
from importlib.resources import files

PARTS = ("prelude", "sliding_window", "token_bucket", "quota", "state", "take")

SOURCE = "\n".join(files(__package__).joinpath(f"{part}.lua").read_text("utf-8") for part in PARTS).encode()

# Redis knows a script by this digest of its source.
SHA = hashlib.sha1(SOURCE, usedforsecurity=False).hexdigest().encode()
