"""The path of a route, as it is written in the file: `/files/{id}/**`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from limiter.api.routes.matching import ONE, REST
from limiter.api.routes.paths import segment

_NAMED = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")
_LONGEST = 512


@dataclass(frozen=True, slots=True)
class Pattern:
    """`written`, and the segments that are matched."""

    written: str
    segments: tuple[str, ...]


def parse_pattern(written: str) -> Pattern:
    """The pattern that a text means, or ValueError for one that no path could match, or not as it seems to say."""
    if not written.startswith("/") or len(written) > _LONGEST:
        raise ValueError(f"begin it with /, and use at most {_LONGEST} characters")
    if found := re.search(r"[?#\s\x00-\x1f]", written):
        raise ValueError(f"{found[0]!r} is no part of a path: leave it out; queries are not looked at")
    return Pattern(written, tuple(_segments(written.removesuffix("/"))))


def _segments(path: str) -> Iterator[str]:
    parts = path.split("/")[1:]
    for place, part in enumerate(parts, 1):
        if part == "**" and place < len(parts):
            raise ValueError("** stands for the rest: put it at the end, and * for one segment before it")
        yield REST if part == "**" else ONE if part == "*" or _NAMED.fullmatch(part) else _literal(part)


def _literal(part: str) -> str:
    if re.search(r"[*{}]", part):
        raise ValueError(f"segment {part!r}: write it out, or put * or {{name}} for the whole of it")
    literal = segment(part)
    if literal in ("", ".", "..") or re.search(r"%2F|[\\;]", literal):
        raise ValueError(f"segment {part!r}: no path has it once it is read; leave out //, dots alone, backslashes, semicolons and %2F")
    return literal
