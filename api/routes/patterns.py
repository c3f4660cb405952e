"""The path pattern of a route, as in the configuration: `/files/{id}/**`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from limiter.api.routes.faults import RefusedPath
from limiter.api.routes.matching import ONE, REST
from limiter.api.routes.paths import segment

_NAMED = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")
_MAX_LENGTH = 512


@dataclass(frozen=True, slots=True)
class Pattern:
    """The text in the file, and the segments that it matches."""

    written: str
    segments: tuple[str, ...]


def parse_pattern(written: str) -> Pattern:
    """Raises ValueError for a pattern that no path can match, or that matches other paths than it seems to."""
    if not written.startswith("/") or len(written) > _MAX_LENGTH:
        raise ValueError(f"begin it with / and use at most {_MAX_LENGTH} characters")
    if found := re.search(r"[?#\s\x00-\x1f]", written):
        raise ValueError(f"{found[0]!r} cannot be part of a path: remove it, as queries are not matched")
    return Pattern(written, tuple(_segments(written.removesuffix("/"))))


def _segments(path: str) -> Iterator[str]:
    parts = path.split("/")[1:]
    for place, part in enumerate(parts, 1):
        if part == "**" and place < len(parts):
            raise ValueError("** matches the rest of the path: put it at the end, and use * for one segment before it")
        yield REST if part == "**" else ONE if part == "*" or _NAMED.fullmatch(part) else _literal(part)


def _literal(part: str) -> str:
    if re.search(r"[*{}]", part):
        raise ValueError(f"segment {part!r}: write it out, or use * or {{name}} for the whole segment")
    literal = _decoded(part)
    # A path with `;x` matches what is before the semicolon.
    if not literal or re.search("[/;]", literal):
        raise ValueError(f"segment {part!r}: no path matches it: remove //, . and .., backslashes, semicolons, %2F and invalid escapes")
    return literal


def _decoded(part: str) -> str:
    """Empty if every path with this segment is refused."""
    try:
        return segment(part)
    except RefusedPath:
        return ""
