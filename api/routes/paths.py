"""How a path may be read by the API behind, so that no odd spelling gets past a route.

`%63onvert` is `convert` to everybody, but servers differ about `%2F`, `\\`, `;x`, `//` and `..`. So an odd path has several
readings, each as segments without empty ones; a path without any of these has one, itself.
"""

from __future__ import annotations

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
    """Each distinct reading of a path as it stands on the wire (bytes as latin-1), a query after it or not."""
    bare = _bare(path)
    odd_slash, odd_parameters = _SLASHES.search(bare) is not None, ";" in bare
    found: dict[tuple[str, ...], None] = {}
    for slashes, parameters in product({False, odd_slash}, {False, odd_parameters}):
        spelt = _SLASHES.sub("/", bare) if slashes else bare
        decoded = [_decoded(segment) for segment in (_PARAMETERS.sub("", spelt) if parameters else spelt).split("/")]
        found.update(dict.fromkeys(_walks(decoded)))
    return list(found)


def segment(written: str) -> str:
    """A literal segment of a pattern, as it is matched."""
    return _decoded(written.encode().decode("latin-1"))


def _bare(path: str) -> str:
    path = re.split(r"[?#]", path, maxsplit=1)[0]
    return _ORIGIN.sub("", path, count=1) if not path.startswith("/") else path


def _decoded(segment: str) -> str:
    if segment.isascii() and "%" not in segment:
        return segment
    raw = unquote_to_bytes(segment.encode("latin-1", "replace"))
    # A slash that is data stays apart from those that separate.
    return raw.decode("utf-8", "surrogateescape").replace("/", "%2F")


def _walks(segments: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Dots taken as names; as steps, with an empty segment (`//`) a step to go back from; and without."""
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
