"""FastAPI: `limit_app` for the application, `rate_limit` for a route.

    limit_app(app, "redis://localhost", ["100/minute"])

    @app.get("/search", dependencies=[rate_limit("10/minute", cost=5)])

The limits of a route join the default limits in one decision, before the request's body is read. A limit whose functions are dependencies
is decided when FastAPI has called them, in a second decision; if that denies, the first one is given back.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Any, Unpack, cast

from fastapi import Depends, FastAPI
from fastapi.exceptions import HTTPException, WebSocketException
from starlette.requests import HTTPConnection, Request

from limiter.aio import AsyncLimiter
from limiter.decision import Decision
from limiter.denials import TOO_MANY_REQUESTS
from limiter.errors import LimiterError
from limiter.problems import CONTENT_TYPE, QUOTA_EXCEEDED
from limiter.web.asgi import Middleware, setting_of, visit_of
from limiter.web.core.declaration import Declared, Options
from limiter.web.core.marks import LimitOptions, exempt
from limiter.web.core.rate_limit import PolicyOf, RateLimit
from limiter.web.routes import Routes, flat, named
from limiter.web.visit import CLOSED_BY_POLICY, VISIT, OnDenied, Scope, Visit

__all__ = ["RateLimit", "client_address", "decision_of", "exempt", "limit_app", "rate_limit"]

_LIMITED = "limiter_limits_it"
_INJECTABLE = ("policy", "subject", "cost", "exempt_when")


def limit_app(
    app: FastAPI,
    redis: AsyncLimiter | str,
    limits: Declared[Request] = (),
    *,
    on_denied: OnDenied[Request] | None = None,
    **options: Unpack[Options[Request]],
) -> None:
    """Limit all requests to an application, and document the response 429 in its OpenAPI schema.

    `redis`: a URL, or an AsyncLimiter, which is then yours to close. `limits`: the default limits. `on_denied` gets the request and the
    denial, and returns a Response; the headers are added to it. For the other options see `Options`.
    """
    if hasattr(app.state, _LIMITED):
        raise LimiterError("limit_app must be called once for an application: pass all of its limits in one call")
    setattr(app.state, _LIMITED, True)
    setting = setting_of(redis, limits, _request, on_denied, options)
    routes = Routes(app, _sources_of)
    app.add_middleware(Middleware, setting, routes.marks_of)
    _document(app, routes, has_defaults=bool(setting.admission.limits))


def rate_limit(policy: PolicyOf[Request], **options: Unpack[LimitOptions[Request]]) -> Any:
    """A dependency that limits a route, a router or an application: `dependencies=[rate_limit("10/minute", cost=5)]`.

    A function of one parameter gets the request. Any other function is a dependency: `subject=current_user` may need `Depends` itself.
    """
    return Depends(_Limited(RateLimit(policy, **options)))


def client_address(connection: HTTPConnection) -> str:
    """The address of the client, behind trusted proxies: `subject=lambda request: user_of(request) or client_address(request)`."""
    return visit_of(connection.scope).client_address


def decision_of(connection: HTTPConnection) -> Decision | None:
    """What was decided on the running request; None if no limit applies to it."""
    ruling = visit_of(connection.scope).ruling
    return ruling.decision if ruling else None


class _Limited:
    """What FastAPI calls. Its signature asks for the values of the functions that are dependencies."""

    def __init__(self, declared: RateLimit[Request]) -> None:
        injected = {name: value for name in _INJECTABLE if _is_dependency(value := getattr(declared, name))}
        self.is_injected = bool(injected)
        readers: dict[str, Any] = {name: _reader(name) for name in injected}
        self.source = replace(declared, **readers)
        parameters = [inspect.Parameter("connection", inspect.Parameter.KEYWORD_ONLY, annotation=HTTPConnection)]
        for name, function in injected.items():
            parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[Any, Depends(function)]))
        self.__signature__ = inspect.Signature(parameters)

    async def __call__(self, *, connection: HTTPConnection, **injected: Any) -> None:
        visit: Visit[Request] | None = connection.scope.get(VISIT)
        if visit is None:
            raise LimiterError('rate_limit needs the middleware: call limit_app(app, "redis://...") before the first request')
        if self.source in visit.sources:
            return
        visit.sources += (self.source,)
        visit.injected = injected
        if not await visit.decide([named(self.source, connection.scope.get("endpoint"))]):
            raise _exception(connection.scope)


def _exception(scope: Scope) -> Exception:
    """Ends the request. The middleware sends the denial, whatever FastAPI makes of this."""
    if scope["type"] == "websocket":
        return WebSocketException(CLOSED_BY_POLICY)
    return HTTPException(TOO_MANY_REQUESTS)


def _request(scope: Scope) -> Request:
    # A WebSocket handshake has everything of a Request but the method and the body.
    return Request(scope) if scope["type"] == "http" else cast("Request", HTTPConnection(scope))


def _reader(name: str) -> Callable[[Request], Any]:
    return lambda request: request.scope[VISIT].injected[name]


def _is_dependency(option: object) -> bool:
    """Whether FastAPI must call it, rather than we with the request alone."""
    if not callable(option):
        return False
    parameters = list(inspect.signature(option, eval_str=True).parameters.values())
    if len(parameters) != 1:
        return True
    kind = parameters[0].annotation
    return not (kind in (inspect.Parameter.empty, Any) or (isinstance(kind, type) and issubclass(kind, HTTPConnection)))


def _sources_of(dependant: Any) -> Iterator[tuple[RateLimit[Any], bool]]:
    for each in dependant.dependencies if dependant else ():
        if isinstance(each.call, _Limited):
            yield each.call.source, each.call.is_injected
        yield from _sources_of(each)


def _document(app: FastAPI, routes: Routes, *, has_defaults: bool) -> None:
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        schema = generate()
        for route in flat(app.routes):
            endpoint = routes.endpoint(route)
            if endpoint.limits or (has_defaults and not endpoint.marks.is_exempt):
                for method in getattr(route, "methods", None) or ():
                    operation = schema["paths"].get(getattr(route, "path_format", ""), {}).get(method.lower())
                    if operation is not None:
                        for status, response in RESPONSES.items():
                            operation["responses"].setdefault(status, response)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def _response(description: str, kind: str) -> dict[str, Any]:
    integer = {"schema": {"type": "integer"}}
    properties = {
        "type": {"type": "string", "format": "uri", "example": kind},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "violated-policies": {"type": "array", "items": {"type": "string"}},
    }
    return {
        "description": description,
        "headers": {"Retry-After": {"description": "Seconds until a retry can succeed", **integer}},
        "content": {CONTENT_TYPE: {"schema": {"type": "object", "properties": properties}}},
    }


RESPONSES = {"429": _response("Over a rate limit", QUOTA_EXCEEDED)}
