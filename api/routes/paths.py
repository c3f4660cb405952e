"""How the API behind may read a path, so that no odd spelling bypasses a route.

Every server reads `%63onvert` as `convert`, but servers differ about `%2F`, `\\`, `;x`, `//` and `..`. So a path with any of these has
several readings. Each is a list of segments without empty ones. Any other path has one reading.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import product
from urllib.parse import unquote_to_bytes

_ODD = re.compile(r"[^A-Za-z0-9/_~!$&'()*+,=:@.-]|//|/\.|/$|^(?!/)").search
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_SLASHES = re.compile(r"%2[fF]|%5[cC]|\\")
_PARAMETERS = re.compile(r";[^/]*")


def is_plain(path: str) -> bool:
    return not _ODD(path)


def readings(path: str) -> list[Sequence[str]]:
    """Each distinct reading of a path as on the wire (bytes as latin-1), with or without a query."""
    bare = _bare(path)
    odd_slash, odd_parameters = _SLASHES.search(bare) is not None, ";" in bare
    found: dict[tuple[str, ...], None] = {}
    for slashes, parameters in product({False, odd_slash}, {False, odd_parameters}):
        spelled = _SLASHES.sub("/", bare) if slashes else bare
        decoded = [_decoded(segment) for segment in (_PARAMETERS.sub("", spelled) if parameters else spelled).split("/")]
        found.update(dict.fromkeys(_walks(decoded)))
    return list(found)


def segment(written: str) -> str:
    """A literal segment of a pattern, in the form that segments of paths are compared in."""
    return _decoded(written.encode().decode("latin-1"))


def _bare(path: str) -> str:
    path = re.split(r"[?#]", path, maxsplit=1)[0]
    return _ORIGIN.sub("", path, count=1) if not path.startswith("/") else path


def _decoded(segment: str) -> str:
    if segment.isascii() and "%" not in segment:
        return segment
    raw = unquote_to_bytes(segment.encode("latin-1", "replace"))
    # An encoded slash is data, unlike the slashes between segments.
    return raw.decode("utf-8", "surrogateescape").replace("/", "%2F")


def _walks(segments: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """With dots as names; with dots as steps, where `..` steps back from an empty segment (`//`) too; and where it does not."""
    full = tuple(filter(None, segments))
    yield full
    if ".." in full or "." in full:
        yield _resolved(segments)
        yield _resolved(full)


def _resolved(segments: Sequence[str]) -> tuple[str, ...]:
    walked: list[str] = []
    for segment in segments:
        if segment == "..":
            walked[-1:] = []
        elif segment != ".":
            walked.append(segment)
    return tuple(filter(None, walked))
