"""aiohttp: `limit_app` for the application, `rate_limit` for a handler.

The limits of a handler are decided together with the default limits, before the handler is called.

    app = web.Application()
    limit_app(app, "redis://localhost", "100/minute")

    @rate_limit("10/minute")
    async def search(request: web.Request) -> web.Response: ...

The headers are added when a response is prepared, so that streams and WebSockets have them too.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import isawaitable
from typing import Any, TypeVar, Unpack, cast

from aiohttp import web

from limiter.addresses import canonical
from limiter.aio import AsyncLimiter
from limiter.decision import Decision
from limiter.errors import LimiterError
from limiter.web.core.admission import Admission
from limiter.web.core.declaration import Declared, Options
from limiter.web.core.handling import HANDLING, Handling
from limiter.web.core.marks import LimitOptions, exempt, mark, marks_of_view, name_of
from limiter.web.core.rate_limit import PolicyOf, RateLimit
from limiter.web.core.ruling import Denial
from limiter.web.core.running import run_async

__all__ = ["RateLimit", "client_address", "decision_of", "exempt", "limit_app", "rate_limit"]

F = TypeVar("F", bound=Callable[..., Any])

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OnDenied = Callable[[web.Request, Denial], web.StreamResponse | Awaitable[web.StreamResponse]]

# Where a request keeps its limits and its handling. aiohttp before 3.14 has text alone as a key.
_STATE: Any = web.RequestKey(HANDLING, tuple) if hasattr(web, "RequestKey") else HANDLING


def limit_app(
    app: web.Application,
    redis: AsyncLimiter | str,
    limits: Declared[web.Request] = (),
    *,
    on_denied: OnDenied | None = None,
    **options: Unpack[Options[web.Request]],
) -> None:
    """Limit all requests to an application, by the address of the client unless a RateLimit says otherwise.

    `redis`: a URL, or an AsyncLimiter, which is then yours to close. `limits`: the default limits. `on_denied` gets the request and the
    denial, and returns the response; the headers are added to it. For the other options see `Options`.

    It appends a middleware to `app.middlewares`. Middlewares before that one run before the decision.
    """
    if any(isinstance(middleware, _Limits) for middleware in app.middlewares):
        raise LimiterError("limit_app must be called once for an application: pass all limits in one list")
    limiter = AsyncLimiter(redis) if isinstance(redis, str) else redis
    limits_of_app = _Limits(limiter, Admission(limits, prefix=limiter.settings.prefix, **options), on_denied)
    app.middlewares.append(cast("Any", limits_of_app))
    app.on_response_prepare.append(limits_of_app.finish)
    if limiter is not redis:
        app.on_cleanup.append(limits_of_app.close)


class _Limits:
    # aiohttp calls middlewares of this version with the request and the handler.
    __middleware_version__ = 1

    def __init__(self, limiter: AsyncLimiter, admission: Admission[web.Request], on_denied: OnDenied | None) -> None:
        self._limiter, self._admission, self._on_denied = limiter, admission, on_denied

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        handling = Handling(self._admission, _Facts(request))
        request[_STATE] = self, handling
        marks = marks_of_view(request.match_info.handler, request.method)
        denial = await run_async(self._limiter, handling.begin(marks))
        return await handler(request) if denial is None else await self._deny(request, denial)

    async def ensure(self, request: web.Request, limit: RateLimit[web.Request], name: str) -> web.StreamResponse | None:
        """Decide on a limit that the middleware did not find, because a decorator hides the handler."""
        handling: Handling[web.Request] = request[_STATE][1]
        denial = await run_async(self._limiter, handling.ensure(limit, name))
        return await self._deny(request, denial) if denial else None

    async def _deny(self, request: web.Request, denial: Denial) -> web.StreamResponse:
        if self._on_denied is None:
            return web.Response(body=denial.body, status=denial.status, headers=denial.headers)
        response = self._on_denied(request, denial)
        return (await response) if isawaitable(response) else response

    async def finish(self, request: web.Request, response: web.StreamResponse) -> None:
        # A request without a handling got its response from a middleware before this one. One without a transport has no client any more,
        # which stays charged: otherwise it could fail each of its requests on purpose.
        handling = _found(request)
        if handling is not None and request.transport is not None:
            response.headers.update(await run_async(self._limiter, handling.settle(response.status, response.headers.items())))

    async def close(self, _app: web.Application) -> None:
        await self._limiter.close()


def rate_limit(policy: PolicyOf[web.Request], **options: Unpack[LimitOptions[web.Request]]) -> Callable[[F], F]:
    """Decorate a handler: a function, a method that gets the request, a `web.View`, or a method of one."""
    limit: RateLimit[web.Request] = RateLimit(policy, **options)

    def decorate(handler: F) -> F:
        if isinstance(handler, type):
            return cast("F", mark(handler, limit))

        @wraps(handler)
        async def limited(*args: Any) -> web.StreamResponse:
            request = args[-1].request if isinstance(args[-1], web.View) else args[-1]
            if _STATE not in request:
                raise LimiterError(f"the rate limit of {name_of(handler)} needs limit_app(app, ...), which this application does not have")
            denied = await request[_STATE][0].ensure(request, limit, name_of(handler))
            return cast("web.StreamResponse", await handler(*args)) if denied is None else denied

        return cast("F", mark(limited, limit))

    return decorate


def client_address(request: web.Request) -> str:
    """The address of the client, behind trusted proxies."""
    handling: Handling[web.Request] = request[_STATE][1]
    return handling.client_address


def decision_of(request: web.Request) -> Decision | None:
    """The decision on the request. None if no limit applies to it."""
    handling = _found(request)
    return handling.decision if handling else None


def _found(request: web.Request) -> Handling[web.Request] | None:
    state: tuple[_Limits, Handling[web.Request]] | None = request.get(_STATE)
    return state[1] if state else None


class _Facts:
    __slots__ = ("request",)

    def __init__(self, request: web.Request) -> None:
        self.request = request

    @property
    def method(self) -> str:
        return self.request.method

    @property
    def paths(self) -> tuple[str]:
        return (self.request.path,)

    @property
    def peer(self) -> str:
        return canonical(self.request.remote or "") or ""

    @property
    def forwarded_for(self) -> str:
        return ",".join(self.request.headers.getall("X-Forwarded-For", ()))
