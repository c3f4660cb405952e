"""The front's side of a connection: the strict protocol of the proxy, and two short ways past the server for what is asked most.

In: a request to `/authorize` waits for nothing but its verdict, so it needs no task, no queue for its body and no ASGI messages of its
own, but a place where the verdict is put (`Asked`). Out: an ASGI application sends a head and a body, whose headers the server checks and
writes one by one; an `Answer` is bytes already. Either costs more than all that the limiter does itself. What has to wait, or to stream,
goes the long way, as on any other server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from limiter.api.answers import AT_ONCE, Answer, head_of
from limiter.api.forwarded import PREFIX
from limiter.api.front import Begun, Front
from limiter.api.proxy.downstream import DownstreamProtocol
from limiter.api.proxy.heads import MAX_HEAD
from limiter.errors import BackendError
from limiter.protocol.call import Verdict

_PREFIX = PREFIX.encode()


class Asked:
    """A request on the short way. It stands where uvicorn has a cycle, and is as much of one as uvicorn then looks at."""

    disconnected = response_started = response_complete = False
    more_body = True
    # Whoever waits for a body; here it is nobody.
    message_event = asyncio.Event()

    def __init__(self, protocol: FrontProtocol, front: Front, begun: Begun, *, keep_alive: bool, is_head: bool) -> None:
        self._protocol, self.front, self.begun = protocol, front, begun
        self.keep_alive, self.is_head = keep_alive, is_head
        self._is_done = False

    def done(self) -> bool:
        return self._is_done

    def set_result(self, verdict: Verdict) -> None:
        self._is_done = True
        self._protocol.tell(self, verdict)

    def set_exception(self, error: BackendError) -> None:
        self._is_done = True
        self._protocol.tell(self, error)


class FrontProtocol(DownstreamProtocol):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # An access log, for one, is an application around the front, and sees to every request.
        self._front: Front | None = self.app if isinstance(self.app, Front) else None
        # What every answer begins with, as the server has it at the moment; and the same as it is sent.
        self._stated: list[tuple[bytes, bytes]] = []
        self._stated_head = b""
        self._idle_since: float | None = None

    def on_message_begin(self) -> None:
        """The scope is left for the long way to make."""
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_headers_complete(self) -> None:
        if self._front is None or not self._is_simple() or not self._begin(self._front):
            self._make_scope()
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if isinstance(self.cycle, Asked):
            self._pending = 0  # nobody reads it
        else:
            super().on_body(body)

    def tell(self, asked: Asked, outcome: Verdict | BackendError) -> None:
        """Answer, and raise nothing: others of the same batch wait for their turn."""
        try:
            answer = asked.front.end(asked.begun, outcome)
            if answer is None:
                self._spawn(self._ask_afresh(asked))
            else:
                self._answer(asked, answer, is_head=asked.is_head)
        except Exception:
            self.logger.exception("a verdict could not be told")
            self.transport.abort()

    async def _ask_afresh(self, asked: Asked) -> None:
        self._answer(asked, await asked.front.afresh(asked.begun), is_head=asked.is_head)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """One of the tasks that the server waits for before it ends."""
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _is_simple(self) -> bool:
        """Whether there is no more to it than its head, and nothing before it on the connection that still waits."""
        if not self.url.startswith(_PREFIX) or self._pending > MAX_HEAD or self.parser.should_upgrade():
            return False
        # A client that does not take its answers in has to wait for them, which a callback cannot.
        return (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused

    def _begin(self, front: Front) -> bool:
        method, path = self.parser.get_method(), httptools.parse_url(self.url).path
        scope = {
            "method": method.decode("ascii"),
            "path": path.decode("ascii"),
            "raw_path": path,
            "scheme": self.scheme,
            "client": self.client,
            "headers": self.headers,
        }
        begun = front.begin(scope)
        if begun is None:
            return False
        self._pending = 0
        keep_alive = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"
        asked = Asked(self, front, begun, keep_alive=keep_alive, is_head=method == b"HEAD")
        self.cycle = asked  # type: ignore[assignment]
        front.decide(begun, asked)
        return True

    def _make_scope(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.scope[AT_ONCE] = partial(self._answer_unless_full, cycle)  # type: ignore[literal-required]
        super()._start_asgi_task(cycle, app)

    def _answer_unless_full(self, cycle: RequestResponseCycle, answer: Answer) -> bool:
        if self.flow.write_paused or cycle.response_started:
            return False
        self._answer(cycle, answer, is_head=cycle.scope["method"] == "HEAD")
        return True

    def _answer(self, cycle: RequestResponseCycle | Asked, answer: Answer, *, is_head: bool) -> None:
        """Write the answer, as the cycle would."""
        if cycle.disconnected:
            return
        cycle.response_started = cycle.response_complete = True
        head = b"%b%b%bcontent-length: %d\r\n" % (STATUS_LINE[answer.status], self._default_head(), answer.head, len(answer.body))
        close = b"" if cycle.keep_alive else b"connection: close\r\n"
        self._cork.write_now(b"%b%b\r\n%b" % (head, close, b"" if is_head else answer.body))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _default_head(self) -> bytes:
        headers = self.server_state.default_headers
        # A list of its own for every second.
        if headers is not self._stated:
            self._stated, self._stated_head = headers, head_of(headers)
        return self._stated_head

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
        """The timer is left as it is: to set a new one for every request costs as much as to decide on it."""
        self._idle_since = None

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return  # the next answer sets it
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
