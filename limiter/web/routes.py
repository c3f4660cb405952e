"""`Routes`: the limits of the FastAPI endpoint that a request leads to, found before FastAPI is called."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi import routing as fastapi_routing
from starlette.routing import BaseRoute, Host, Match, Mount

from limiter.web.core.marks import Marks, marks_of, name_of
from limiter.web.core.rate_limit import RateLimit
from limiter.web.visit import Scope

# Paths that are kept. To match one costs as much as FastAPI's own routing. A client chooses them, so long ones are not kept.
_REMEMBERED = 4096
_LONGEST_REMEMBERED = 256
_NOTHING = Marks()

# Yields what `rate_limit` has declared in a tree of dependencies: the RateLimit, and whether it needs injected values.
SourcesOf = Callable[[Any], Iterable[tuple[RateLimit[Any], bool]]]


class Endpoint(NamedTuple):
    """`limits` are the limits of an endpoint, by their declarations. `marks` has those that need nothing but the request."""

    marks: Marks
    limits: Mapping[RateLimit[Any], RateLimit[Any]]


_NO_ENDPOINT = Endpoint(_NOTHING, {})


class Routes:
    """Routes that are added after the first request are limited too, but in a decision of their own."""

    def __init__(self, app: FastAPI, sources_of: SourcesOf) -> None:
        self._app, self._sources_of = app, sources_of
        self._are_marked: bool | None = None
        # Then the endpoint depends on more than the path.
        self._has_hosts = False
        self._remembered = lru_cache(_REMEMBERED)(self._find_by)

    def marks_of(self, scope: Scope) -> Marks | None:
        """Also puts the parameters of the path where functions of the request look for them."""
        if self._are_marked is None:
            routes = list(flat(self._app.routes, deep=True))
            self._are_marked = any(self.endpoint(route) != _NO_ENDPOINT for route in routes)
            self._has_hosts = any(isinstance(route, Host) for route in routes)
        if not self._are_marked:
            return None
        path, method = scope["path"], scope.get("method", "GET")
        find = self._remembered if len(path) + len(method) <= _LONGEST_REMEMBERED else self._find_by
        if self._has_hosts:
            endpoint, parameters = self._find(self._app.routes, scope)
        else:
            endpoint, parameters = find(scope["type"], method, path, scope.get("root_path", ""))
        if parameters:
            scope["path_params"] = parameters
        return None if endpoint is _NO_ENDPOINT else endpoint.marks

    def endpoint(self, route: Any) -> Endpoint:
        function = getattr(route, "endpoint", None)
        is_exempt = marks_of(function).is_exempt
        declared = dict(self._sources_of(getattr(route, "dependant", None)))
        if not declared and not is_exempt:
            return _NO_ENDPOINT
        limits = {source: named(source, function, place) for place, source in enumerate(declared)}
        early = tuple(source for source, is_injected in declared.items() if not is_injected)
        return Endpoint(Marks(tuple(limits[source] for source in early), is_exempt, early), limits)

    def _find_by(self, kind: str, method: str, path: str, root_path: str) -> tuple[Endpoint, dict[str, Any]]:
        scope: Scope = {"type": kind, "method": method, "path": path, "root_path": root_path, "headers": []}
        return self._find(self._app.routes, scope)

    def _find(self, routes: Sequence[BaseRoute], scope: Scope) -> tuple[Endpoint, dict[str, Any]]:
        for route in flat(routes):
            match, child = route.matches(scope)
            if match is Match.FULL:
                scope = {**scope, **child}
                if isinstance(route, Mount | Host):
                    return self._find(route.routes, scope)
                return self.endpoint(route), scope.get("path_params", {})
        return _NO_ENDPOINT, {}


def named(source: RateLimit[Any], function: object, place: int = 0) -> RateLimit[Any]:
    """Without a name of its own, a limit counts by the name of the endpoint."""
    name = name_of(function)
    return source.named(f"{name}.{place + 1}" if place else name)


def flat(routes: Sequence[BaseRoute], *, deep: bool = False) -> Iterator[Any]:
    """The routes with those of included routers, and if `deep`, with those of mounted applications."""
    contexts = getattr(fastapi_routing, "iter_route_contexts", None)
    for found in contexts(routes) if contexts else routes:
        # Before FastAPI 0.130 or so, inclusion copies the routes, and there are no contexts.
        route = getattr(found, "_effective_route", found)
        yield route
        if deep and isinstance(route, Mount | Host):
            yield from flat(route.routes, deep=True)
