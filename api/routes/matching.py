"""Which route a request takes: the first in the file whose method and pattern match, however the path is spelt.

A pattern is literal segments, `*` or `{name}` for one segment, and at its end `**` for any number of them, none included.
Patterns are held in a tree of segments, so a look-up costs what the path is long, not how many routes there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from limiter.api.routes.paths import is_plain, readings
from limiter.policy import Policy

_KEPT = 4096
# Longer paths are looked up anew each time: nobody shall fill memory with them.
_LONGEST_KEPT = 256
_LONGEST = 8192

# In a pattern; no segment of a path is one of these, as none contains a slash.
ONE: Final = "/*"
REST: Final = "/**"


@dataclass(frozen=True, slots=True)
class Route:
    """What a request is charged: `cost` units of `policy`, or of the caller's own where that is None.

    `exempt` passes unasked and uncounted; `scope` is one that the key must hold. `name` is the pattern as written.
    """

    cost: int = 1
    policy: Policy | None = None
    exempt: bool = False
    scope: str | None = None
    name: str = "unmatched"


UNMATCHED: Final = Route()
# As no key holds such a scope, the request is refused: to read the path in all ways would take too long; it cannot be held to both.
TOO_LONG: Final = Route(scope="(a shorter path)")
TWO_POLICIES: Final = Route(scope="(a path with one meaning)")


@dataclass(frozen=True, slots=True)
class Matched:
    """A route, what it is for, and its place in the file. `methods` None: any."""

    place: int
    methods: frozenset[str] | None
    route: Route

    def takes(self, method: str) -> bool:
        return self.methods is None or method in self.methods


@dataclass(slots=True)
class _Node:
    literal: dict[str, _Node] = field(default_factory=dict)
    one: _Node | None = None
    rest: list[Matched] = field(default_factory=list)
    ends: list[Matched] = field(default_factory=list)

    def child(self, segment: str) -> _Node:
        if segment is not ONE:
            return self.literal.setdefault(segment, _Node())
        self.one = self.one or _Node()
        return self.one


class Routes:
    """The routes of a file. `Routes.find("POST", "/convert/a%2Fb?x=1")`; paths are given as on the wire."""

    __slots__ = ("_count", "_kept", "_root")

    def __init__(self) -> None:
        self._root = _Node()
        self._count = 0
        self._kept = lru_cache(_KEPT)(self._look_up)

    def add(self, pattern: Sequence[str], methods: frozenset[str] | None, route: Route) -> None:
        node = self._root
        for segment in pattern:
            if segment is REST:
                break
            node = node.child(segment)
        place = node.rest if pattern and pattern[-1] is REST else node.ends
        place.append(Matched(self._count, methods, route))
        self._count += 1

    def find(self, method: str, path: str) -> Route:
        if len(path) > _LONGEST_KEPT:
            return self._look_up(method, path)
        return self._kept(method, path)

    def hides(self, pattern: Sequence[str], methods: frozenset[str] | None) -> bool:
        """Whether a route of this pattern, added now, would never be reached."""
        # A method that no route names stands for "any".
        return all(self._first(method, pattern) for method in methods or {""})

    def _look_up(self, method: str, path: str) -> Route:
        if len(path) > _LONGEST:
            return TOO_LONG
        if is_plain(path):
            return self._route(method, path[1:].split("/"))
        return strictest(self._route(method, segments) for segments in readings(path))

    def _route(self, method: str, segments: Sequence[str]) -> Route:
        first = self._first(method, segments)
        return first.route if first else UNMATCHED

    def _first(self, method: str, segments: Sequence[str]) -> Matched | None:
        nodes, first = [self._root], None
        for segment in segments:
            following = []
            for node in nodes:
                if node.rest:
                    first = _earlier(first, node.rest, method)
                if (child := node.literal.get(segment)) is not None:
                    following.append(child)
                if node.one is not None and segment is not REST:
                    following.append(node.one)
            if not following:
                return first
            nodes = following
        for node in nodes:
            first = _earlier(_earlier(first, node.rest, method), node.ends, method)
        return first


def _earlier(first: Matched | None, others: Iterable[Matched], method: str) -> Matched | None:
    """Of those that take the method, the one that stands first in the file; `others` are in the file's order."""
    for other in others:
        if first is not None and first.place < other.place:
            return first
        if other.takes(method):
            return other
    return first


def strictest(routes: Iterable[Route]) -> Route:
    """Where a path can be read in several ways, it is held to what each reading asks, so that no spelling gets past a route."""
    distinct = list(dict.fromkeys(routes))
    asking = [route for route in distinct if not route.exempt]
    if len(distinct) == 1 or not asking:
        return distinct[0]
    # Neither stands for the other, not even the caller's own (None): a route's policy may be the looser one.
    if len({route.policy for route in asking}) > 1:
        return TWO_POLICIES
    # No key holds a scope with a blank in it: who could mean two routes of different scopes is refused.
    scopes = dict.fromkeys(route.scope for route in asking if route.scope)
    return Route(
        cost=max(route.cost for route in asking),
        policy=asking[0].policy,
        scope=" ".join(scopes) or None,
        name=next((route.name for route in asking if route is not UNMATCHED), UNMATCHED.name),
    )
