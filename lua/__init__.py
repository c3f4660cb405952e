"""The script that decides, put together from its parts.

Read `take.lua` first, then one of the kinds (`token_bucket.lua` is the shortest), then `state.lua`.
"""

import hashlib
import re
from importlib.resources import files

# In this order. The body of a function each, but for three: a call that has no need of a part does not pay for it.
PARTS = ("prelude", "ring", "sliding_window", "token_bucket", "quota", "kinds", "state", "take")
OPEN = {"prelude", "kinds", "take"}

# Lua has no constants: it would fetch each of them wherever it is used. So `local MOST = 128` is put in place of MOST; one of an open part
# is known to all that come after it.
_CONSTANTS = re.compile(r"^local ([A-Z][A-Z_, ]*) = ([^{}()\n]+)$", re.MULTILINE)
_WORDS = re.compile(r'"[^"]*"|--.*|\b[A-Z][A-Z_]*\b')


def constants(text: str) -> dict[str, str]:
    """The value of each, as it is written."""
    pairs = [zip(names.split(", "), values.split(", "), strict=True) for names, values in _CONSTANTS.findall(text)]
    return {name: value for line in pairs for name, value in line}


def _put_in_place(known: dict[str, str], text: str) -> str:
    return _WORDS.sub(lambda word: known.get(word[0], word[0]), text)


def _script() -> str:
    known: dict[str, str] = {}
    texts = []
    for name in PARTS:
        text = files(__package__).joinpath(f"{name}.lua").read_text("utf-8")
        here = known | {constant: _put_in_place(known, value) for constant, value in constants(text).items()}
        if name in OPEN:
            known = here
        text = _put_in_place(here, _CONSTANTS.sub("", text))
        texts.append(text if name in OPEN else f"local function make_{name}()\n{text}end\n")
    return "\n".join(texts)


SOURCE = _script().encode()

# Redis knows a script by this digest of its source.
SHA = hashlib.sha1(SOURCE, usedforsecurity=False).hexdigest().encode()
