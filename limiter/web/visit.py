"""`Visit`: one HTTP request or WebSocket handshake of an ASGI application, from its decision to the head of its response."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from inspect import isawaitable
from typing import Any, Generic, NamedTuple, TypeVar

from limiter.aio import AsyncLimiter
from limiter.protocol.call import Verdict
from limiter.web.core.admission import Admission
from limiter.web.core.header_fields import Header, encoded, replaced
from limiter.web.core.marks import Marks
from limiter.web.core.rate_limit import RateLimit, Response
from limiter.web.core.ruling import Denial, Ruling
from limiter.web.core.running import run_async

R = TypeVar("R")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# Each framework declares these in its own way.
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

OnDenied = Callable[[R, Denial], ASGIApp | Awaitable[ASGIApp]]

# Where the scope keeps the visit.
VISIT = "limiter.web"

# "Policy violation" of RFC 6455.
CLOSED_BY_POLICY = 1008
# What starts a response, and its status if it names none.
_STARTS = {"http.response.start": 200, "websocket.http.response.start": 403, "websocket.accept": 101, "websocket.close": 403}
_DISCONNECTS = frozenset({"http.disconnect", "websocket.disconnect"})
_FAILED = 500

_NO_MARKS = Marks()


class Setting(NamedTuple):
    """What all visits of a middleware share. `make_request` makes what the application's functions get."""

    limiter: AsyncLimiter
    admission: Admission[Any]
    make_request: Callable[[Scope], Any]
    on_denied: OnDenied[Any] | None
    # Whether the limiter ends with the application.
    owns_limiter: bool


class Visit(Generic[R]):
    """The facts of a request, what was decided on it, and the `send` of the application."""

    __slots__ = (
        "_has_started",
        "_is_gone",
        "_is_over",
        "_receive",
        "_request",
        "_send",
        "_setting",
        "injected",
        "ruling",
        "scope",
        "sources",
    )

    def __init__(self, setting: Setting, scope: Scope, receive: Receive, send: Send) -> None:
        self._setting, self.scope, self._receive, self._send = setting, scope, receive, send
        self._request: R | None = None
        self.ruling: Ruling | None = None
        self._has_started = self._is_over = self._is_gone = False
        # The limits of the endpoint that are decided already, and what FastAPI injects for those that are not.
        self.sources: tuple[RateLimit[Any], ...] = ()
        self.injected: dict[str, Any] = {}

    @property
    def request(self) -> R:
        request = self._request
        if request is None:
            request = self._request = self._setting.make_request(self.scope)
        return request

    @property
    def method(self) -> str:
        """A WebSocket handshake is a GET."""
        method: str = self.scope.get("method", "GET")
        return method

    @property
    def paths(self) -> tuple[str, ...]:
        """Starlette accepts a path with and without `root_path`, so a client can write either."""
        path: str = self.scope["path"]
        root: str = self.scope.get("root_path", "").rstrip("/")
        if not root:
            return (path,)
        return path, path.removeprefix(root) if path.startswith(root) else root + path

    @property
    def peer(self) -> str:
        client = self.scope.get("client")
        return client[0] if client else ""

    @property
    def forwarded_for(self) -> str:
        return ",".join([value.decode("latin-1") for name, value in self.scope["headers"] if name == b"x-forwarded-for"])

    @property
    def client_address(self) -> str:
        return self._setting.admission.client_address(self)

    async def begin(self, marks: Marks | None) -> bool:
        """Decide on the default limits, and on those of the endpoint that are known before it is called. Whether the visit is admitted."""
        limiter, admission, *_ = self._setting
        bill = admission.bill_at_once(self) if marks is None else None
        if bill is None:
            limits, is_exempt, self.sources = marks or _NO_MARKS
            bill = await run_async(limiter, admission.bill(self, limits, defaults=not is_exempt))
            if bill is None:
                return True
        # As `AsyncLimiter.decide` does, without two coroutines.
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        limiter.verdict_to(future, bill.group, limiter.settings.deadline)
        decision: Any = await future
        self.ruling = admission.rule(self, bill, decision)
        return self.ruling.is_allowed

    async def decide(self, limits: Sequence[RateLimit[R]]) -> bool:
        """A second decision, by the endpoint. If it denies, `send` sends the denial, whatever the application sends."""
        limiter, admission, *_ = self._setting
        self.ruling = await run_async(limiter, admission.admit_more(self, self.ruling, limits))
        return self.ruling is None or self.ruling.is_allowed

    async def receive(self) -> Message:
        """What the application calls. A client that disconnects stays charged: otherwise it could fail each of its requests on purpose."""
        message = await self._receive()
        if message["type"] in _DISCONNECTS:
            self._is_gone = True
        return message

    async def send(self, message: Message) -> None:
        """What the application calls."""
        if self._has_started or message["type"] not in _STARTS:
            if not self._is_over:
                await self._send(message)
            return
        self._has_started = True
        ruling = self.ruling
        if ruling is not None:
            if not ruling.is_allowed:
                self._is_over = True
                await self.deny()
                return
            if ruling.may_refund:
                await self._settle(message.get("status", _STARTS[message["type"]]), message.get("headers") or ())
            if message["type"] != "websocket.close":
                message = {**message, "headers": ruling.merged(message.get("headers") or ())}
        await self._send(message)

    async def fail(self) -> None:
        """The application raised. Its server answers with 500, unless it has answered already."""
        if not self._has_started:
            await self._settle(_FAILED, ())

    async def deny(self) -> None:
        scope, send = self.scope, self._send
        denial = self.ruling.denial if self.ruling else None
        assert denial is not None  # noqa: S101
        is_websocket = scope["type"] == "websocket"
        if is_websocket and "websocket.http.response" not in (scope.get("extensions") or ()):
            await send({"type": "websocket.close", "code": CLOSED_BY_POLICY, "reason": "over a rate limit"})
            return
        if self._setting.on_denied is not None:
            response = self._setting.on_denied(self.request, denial)
            app = (await response) if isawaitable(response) else response
            own = [(name, value) for name, value in denial.headers.items() if name != "Content-Type"]
            await app(scope, self._receive, _adding(own, send))
            return
        kind = "websocket.http.response" if is_websocket else "http.response"
        headers = replaced([(b"content-length", b"%d" % len(denial.body))], encoded(denial.headers.items()))
        await send({"type": f"{kind}.start", "status": denial.status, "headers": headers})
        await send({"type": f"{kind}.body", "body": denial.body})

    async def _settle(self, status: int, headers: Iterable[Header]) -> None:
        """Give back what the response does not owe."""
        if self.ruling is not None and self.ruling.may_refund and not self._is_gone:
            named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
            await run_async(self._setting.limiter, self.ruling.refund(Response(status, named)))


def _adding(headers: Iterable[tuple[str, str]], send: Send) -> Send:
    ours = encoded(headers)

    async def sending(message: Message) -> None:
        if message["type"] in _STARTS:
            message = {**message, "headers": replaced(message.get("headers") or (), ours)}
        await send(message)

    return sending
