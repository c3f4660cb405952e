"""One connection to the front: the strict protocol of the proxy, with two shortcuts around the server for its most frequent request.

In: a request to `/authorize` waits for nothing but its verdict. It needs no task, no queue for its body and no ASGI messages, but only
a place where its answer is delivered (`_Request`). Out: an ASGI application sends a head and a body, whose headers the server checks and
writes one by one; an `Answer` already is bytes. Without the shortcuts, each of the two costs more than the limiter's own work. Every
other request is handled as on any other server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from limiter.api.answers import WRITE_ANSWER, Answer, head_of
from limiter.api.front import Front
from limiter.api.overload import Overload
from limiter.api.proxy.downstream import DownstreamProtocol
from limiter.api.proxy.heads import MAX_HEAD, MAX_HEADERS
from limiter.api.proxy.inflow import BODY, HEAD, REQUEST

# A head of this many bytes has fewer headers than the bound, as each takes 4 bytes at least.
_SHORT = min(MAX_HEAD, 4 * MAX_HEADERS)

# How a request line ends. `_check_line` decides about all others.
_1_1, _1_0 = b" HTTP/1.1\r\n", b" HTTP/1.0\r\n"

# A request with one of these headers may have a body, may end its connection, or needs an answer that a browser can read.
_NOT_PLAIN = (b"\nconnection", b"\ncontent-length", b"\ntransfer-encoding", b"\norigin")


class _Request:
    """A request on the fast path. It stands where uvicorn keeps a RequestResponseCycle, with the attributes that uvicorn then reads."""

    disconnected = response_started = response_complete = False
    more_body = True
    waiting_for_100_continue = False
    # Wakes an application that waits for the body. On the fast path there is none.
    message_event = asyncio.Event()

    def __init__(self, protocol: FrontProtocol, *, keep_alive: bool, is_head: bool) -> None:
        self._protocol, self.keep_alive, self.is_head = protocol, keep_alive, is_head

    def deliver(self, answer: Answer) -> None:
        self._protocol.write_answer(self, answer, is_head=self.is_head)

    def deliver_later(self, answering: Coroutine[Any, Any, Answer]) -> None:
        self._protocol.start_task(self._deliver_result(answering))

    def abort(self, error: Exception) -> None:
        self._protocol.logger.error("the answer could not be sent", exc_info=error)
        self._protocol.transport.abort()

    async def _deliver_result(self, answering: Coroutine[Any, Any, Answer]) -> None:
        try:
            self.deliver(await answering)
        except Exception as error:  # noqa: BLE001 - the client must not wait forever
            self.abort(error)


def _is_plain(data: bytes) -> bool:
    """Whether it is one GET request of HTTP/1.1 without a body, and nothing else."""
    if data[:4] != b"GET " or data.find(b"\r\n\r\n") != len(data) - 4:
        return False
    lower = data.lower()
    return b" http/1.1\r\n" in lower and not any(name in lower for name in _NOT_PLAIN)


class FrontProtocol(DownstreamProtocol):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # With an access log, the application is a wrapper around the front, and has to see every request.
        self._front: Front | None = self.app if isinstance(self.app, Front) else None
        # The headers that uvicorn puts on every answer, and the same as bytes.
        self._default_headers: list[tuple[bytes, bytes]] = []
        self._default_head = b""
        self._overload: Overload | None = getattr(self.app, "overload", None)
        # What has arrived while the front is overloaded, and is not parsed yet.
        self._held = b""
        # Whether a request is shed if its head is complete now.
        self._sheds = False

    def proceed(self, *, sheds: bool) -> None:
        """Continue with what was held: parse it, or answer that it is shed."""
        data, self._held = self._held, b""
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if sheds and self._front and self._part is REQUEST and not self._is_answering() and _is_plain(data):
            self._shed_unparsed(self._front.shed(data[4:]))
        else:
            self._sheds = sheds
            super()._parse(data)
            self._sheds = False

    @property
    def held(self) -> int:
        return super().held + len(self._held)

    def _parse(self, data: bytes) -> None:
        overload = self._overload
        if overload is not None and overload.is_over and self._part is not BODY:
            self._hold(overload, data)
        else:
            super()._parse(data)

    def _hold(self, overload: Overload, data: bytes) -> None:
        if self._held:
            self._inflow.keep(data)
            self._inflow.pause_reading()
        else:
            self._held = data
            # Enough to stop `_read_on`. The socket is read on, which costs less than to stop and resume it, unless more arrives.
            self.flow.read_paused = True
            overload.hold(self)

    def _shed_unparsed(self, answer: Answer) -> None:
        self.turns += 1
        self._write_head(answer, b"\r\n" + answer.body)
        self.on_response_complete()

    def on_message_begin(self) -> None:
        """Leaves the scope to `_make_scope`, because the fast path does without it."""
        self._part = HEAD
        self.turns += 1
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_headers_complete(self) -> None:
        if self._front is None or not self._is_simple() or not self._begin(self._front):
            self._make_scope()
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if isinstance(self.cycle, _Request):
            self._part = REQUEST
            self.cycle.more_body = False
        else:
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        if isinstance(self.cycle, _Request):
            self._pending = 0  # no application reads it
        else:
            super().on_body(body)

    def write_answer(self, cycle: RequestResponseCycle | _Request, answer: Answer, *, is_head: bool) -> None:
        """Writes what the cycle would write."""
        if cycle.disconnected:
            return
        cycle.response_started = cycle.response_complete = True
        close = b"" if cycle.keep_alive else b"connection: close\r\n"
        self._write_head(answer, b"%b\r\n%b" % (close, b"" if is_head else answer.body))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _write_head(self, answer: Answer, rest: bytes) -> None:
        head = STATUS_LINE[answer.status], self._first_headers(), answer.head, len(answer.body), rest
        self._cork.write_now(b"%b%b%bcontent-length: %d\r\n%b" % head)

    def _is_simple(self) -> bool:
        """Whether only the head matters, and no earlier request on the connection still waits."""
        if self.url[:1] != b"/" or (self._pending > _SHORT and self._exceeds_head()) or self.parser.should_upgrade():
            return False
        # If the client does not read its answers, the next one has to wait, which a callback cannot.
        return (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused

    def _begin(self, front: Front) -> bool:
        method, path = self.parser.get_method(), self.url.partition(b"?")[0]
        end = len(method) + 1 + len(self.url)
        if self._line[end : end + len(_1_1)] != _1_1 and self._line[end : end + len(_1_0)] != _1_0:
            return False
        headers = self.headers
        scope = {
            "type": "http",
            "method": method.decode("ascii"),
            "path": path.decode("ascii"),
            "raw_path": path,
            "scheme": self.scheme,
            "client": self.client,
            "headers": headers,
        }
        keep_alive = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"
        request = _Request(self, keep_alive=keep_alive, is_head=method == b"HEAD")
        if not self._sheds and not front.begin(scope, request):
            return False
        self._pending, self._part, self._line = 0, BODY, b""
        # The parser appends trailers to this list, and they must not turn into headers of the request.
        self.headers = []
        self.cycle = request  # type: ignore[assignment]
        if self._sheds:
            request.deliver(front.shed(self.url, headers))
        return True

    def _make_scope(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        HttpToolsProtocol.on_message_begin(self)
        self.url, self.expect_100_continue = url, expects
        self.headers += headers

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._overload is not None:
            self._overload.enter()
        cycle.scope[WRITE_ANSWER] = partial(self._write_unless_full, cycle)  # type: ignore[literal-required]
        super()._start_asgi_task(cycle, app)

    def _write_unless_full(self, cycle: RequestResponseCycle, answer: Answer) -> bool:
        if self.flow.write_paused or cycle.response_started:
            return False
        self.write_answer(cycle, answer, is_head=cycle.scope["method"] == "HEAD")
        return True

    def _first_headers(self) -> bytes:
        headers = self.server_state.default_headers
        # uvicorn makes a new list every second.
        if headers is not self._default_headers:
            self._default_headers, self._default_head = headers, head_of(headers)
        return self._default_head

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if isinstance(self.cycle, _Request):
            self.cycle.disconnected = True
            self.cycle = None  # type: ignore[assignment]
