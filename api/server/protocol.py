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

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from limiter.api.answers import WRITE_ANSWER, Answer, head_of
from limiter.api.front import Front
from limiter.api.overload import SHED, Overload
from limiter.api.proxy.downstream import DownstreamProtocol
from limiter.api.proxy.heads import MAX_HEAD


class _Request:
    """A request on the fast path. It stands where uvicorn keeps a RequestResponseCycle, with the attributes that uvicorn then reads."""

    disconnected = response_started = response_complete = False
    more_body = True
    # Wakes an application that waits for the body. On the fast path there is none.
    message_event = asyncio.Event()

    def __init__(self, protocol: FrontProtocol, *, keep_alive: bool, is_head: bool) -> None:
        self._protocol, self.keep_alive, self.is_head = protocol, keep_alive, is_head

    def deliver(self, answer: Answer) -> None:
        self._protocol.write_answer(self, answer, is_head=self.is_head)

    def deliver_later(self, answering: Coroutine[Any, Any, Answer]) -> None:
        self._protocol.run(self._deliver_result(answering))

    def abort(self, error: Exception) -> None:
        self._protocol.logger.error("the answer could not be sent", exc_info=error)
        self._protocol.transport.abort()

    async def _deliver_result(self, answering: Coroutine[Any, Any, Answer]) -> None:
        try:
            self.deliver(await answering)
        except Exception as error:  # noqa: BLE001 - the client must not wait forever
            self.abort(error)


_SHED = STATUS_LINE[503] + b"%b" + SHED.head + b"content-length: %d\r\n\r\n%b" % (len(SHED.body), SHED.body)
_NOT_PLAIN = (b"\nconnection", b"\ncontent-length", b"\ntransfer-encoding")


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
        self._idle_since: float | None = None
        self._overload: Overload | None = getattr(self.app, "overload", None)
        # Whether a request whose head is complete now gets no answer but that the front is overloaded.
        self._sheds = False
        # What was received while the front is overloaded, and not read yet.
        self._held = b""

    def data_received(self, data: bytes) -> None:
        overload = self._overload
        if overload is not None and overload.is_over and self._is_between_requests():
            self._hold(overload, data)
        else:
            super().data_received(data)

    def proceed(self, *, sheds: bool) -> None:
        """Handle what was held."""
        data, self._held = self._held, b""
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if sheds and not self._pending and _is_plain(data):
            self._overload.note()
            self._cork.write_now(_SHED % (self._first_headers()))
            self.on_response_complete()
            return
        self._sheds = sheds
        super().data_received(data)
        self._sheds = False

    def _hold(self, overload: Overload, data: bytes) -> None:
        if not self._held:
            overload.hold(self)
        self._held += data
        if len(self._held) > MAX_HEAD:
            self.flow.pause_reading()

    def _is_between_requests(self) -> bool:
        return self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body)

    def on_message_begin(self) -> None:
        """Leaves the scope to `_make_scope`, because the fast path does without it."""
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_headers_complete(self) -> None:
        if self._front is None or not self._is_simple() or not self._begin(self._front):
            self._make_scope()
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if isinstance(self.cycle, _Request):
            self._pending = 0  # no application reads it
        else:
            super().on_body(body)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs it in one of the tasks that the server waits for before it stops."""
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def write_answer(self, cycle: RequestResponseCycle | _Request, answer: Answer, *, is_head: bool) -> None:
        """Writes what the cycle would write."""
        if cycle.disconnected:
            return
        cycle.response_started = cycle.response_complete = True
        head = b"%b%b%bcontent-length: %d\r\n" % (STATUS_LINE[answer.status], self._first_headers(), answer.head, len(answer.body))
        close = b"" if cycle.keep_alive else b"connection: close\r\n"
        self._cork.write_now(b"%b%b\r\n%b" % (head, close, b"" if is_head else answer.body))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _is_simple(self) -> bool:
        """Whether only the head matters, and no earlier request on the connection still waits."""
        if self.url[:1] != b"/" or self._pending > MAX_HEAD or self.parser.should_upgrade():
            return False
        # If the client does not read its answers, the next one has to wait, which a callback cannot.
        return (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused

    def _begin(self, front: Front) -> bool:
        method, path = self.parser.get_method(), httptools.parse_url(self.url).path
        scope = {
            "type": "http",
            "method": method.decode("ascii"),
            "path": path.decode("ascii"),
            "raw_path": path,
            "scheme": self.scheme,
            "client": self.client,
            "headers": self.headers,
        }
        keep_alive = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"
        request = _Request(self, keep_alive=keep_alive, is_head=method == b"HEAD")
        if self._sheds:
            self._overload.note()
            request.deliver(SHED)
        elif not front.begin(scope, request):
            return False
        self._pending = 0
        # The parser appends trailers to this list, and they must not turn into headers of the request.
        self.headers = []
        self.cycle = request  # type: ignore[assignment]
        return True

    def _make_scope(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
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

    def on_response_complete(self) -> None:
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        """Keeps the timer: setting a new one for every request costs as much as the decision."""
        self._idle_since = None

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return  # the next answer sets a timer
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
