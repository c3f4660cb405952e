"""`RateLimitMiddleware`: for any ASGI application. It needs no framework.

    app = RateLimitMiddleware(app, "redis://localhost", ["100/minute", "1000/hour"])

A request is decided before the application sees it. A denied one gets its response from the middleware; an admitted one goes through, and
its response gets the headers as it starts. Bodies are not touched, so that streaming works, and nothing is awaited after the response.

WebSocket handshakes count like requests. If the server cannot answer a handshake with a response of ours, a denial closes the connection
before it is accepted, which servers answer with 403.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, Unpack
from urllib.parse import parse_qsl

from limiter.aio import AsyncLimiter
from limiter.web.core.admission import Admission
from limiter.web.core.declaration import Declared, Options
from limiter.web.core.marks import Marks
from limiter.web.core.rate_limit import RateLimit
from limiter.web.visit import VISIT, ASGIApp, Message, OnDenied, Scope, Send, Setting, Visit

__all__ = ["RateLimit", "RateLimitMiddleware", "Request"]

R = TypeVar("R")


class Request:
    """What functions such as `subject=` get. `headers` have lower-case names; repeated headers are joined by commas."""

    __slots__ = ("scope",)

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    @property
    def method(self) -> str:
        return str(self.scope.get("method", "GET"))

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def headers(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for name, value in self.scope["headers"]:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            found[key] = f"{found[key]},{text}" if key in found else text
        return found

    @property
    def query(self) -> Mapping[str, str]:
        return dict(parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True))

    @property
    def client_address(self) -> str:
        """The address of the client, behind trusted proxies."""
        return visit_of(self.scope).client_address


def visit_of(scope: Scope) -> Visit[Any]:
    found: Visit[Any] = scope[VISIT]
    return found


class Middleware(Generic[R]):
    """`marks_of` finds the limits of the endpoint that a scope leads to: None if it has none."""

    def __init__(self, app: ASGIApp, setting: Setting, marks_of: Callable[[Scope], Marks | None] | None = None) -> None:
        self.app, self._setting, self._marks_of = app, setting, marks_of

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        kind = scope["type"]
        if kind == "lifespan" and self._setting.owns_limiter:
            send = _closing(self._setting.limiter, send)
        if kind not in ("http", "websocket") or not self._setting.admission.enabled:
            await self.app(scope, receive, send)
            return
        # The type of a `Visit[R](...)` would be made for every request.
        visit: Visit[R] = Visit(self._setting, scope, receive, send)
        scope[VISIT] = visit
        try:
            if await visit.begin(self._marks_of(scope) if self._marks_of else None):
                await self.app(scope, visit.receive, visit.send)
            else:
                if kind == "websocket":
                    # The event that says that a client has asked. It can be answered after that.
                    await receive()
                await visit.deny()
        except Exception:
            await visit.fail()
            raise
        finally:
            # The visit has the scope. Such a cycle would leave all objects of the request to the garbage collector (about 10 us a request).
            scope.pop(VISIT, None)


class RateLimitMiddleware(Middleware[Request]):
    """Limits every request, by the address of its client unless a RateLimit says otherwise.

    `redis`: a URL, or an AsyncLimiter, which is then yours to close. `limits`: the default limits. `on_denied` gets the request and the
    denial, and returns the response as an ASGI application; the headers are added to it. For the other options see `Options`.
    """

    def __init__(
        self,
        app: ASGIApp,
        redis: AsyncLimiter | str,
        limits: Declared[Request] = (),
        *,
        on_denied: OnDenied[Request] | None = None,
        **options: Unpack[Options[Request]],
    ) -> None:
        super().__init__(app, setting_of(redis, limits, Request, on_denied, options))


def setting_of(
    redis: AsyncLimiter | str,
    limits: Declared[R],
    make_request: Callable[[Scope], R],
    on_denied: OnDenied[R] | None,
    options: Options[R],
) -> Setting:
    limiter = AsyncLimiter(redis) if isinstance(redis, str) else redis
    admission = Admission(limits, prefix=limiter.settings.prefix, **options)
    return Setting(limiter, admission, make_request, on_denied, owns_limiter=limiter is not redis)


def _closing(limiter: AsyncLimiter, send: Send) -> Send:
    """Closes the limiter when the application has shut down."""

    async def sending(message: Message) -> None:
        if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            await limiter.close()
        await send(message)

    return sending
