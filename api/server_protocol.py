"""The front's side of a connection: the strict protocol of the proxy, and two short ways past the server for what is asked most.

In: a request to `/authorize` waits for nothing but its verdict, so it needs no task of its own, but a callback (`Front.begin`). Out: an
ASGI application sends a head and a body, whose headers the server checks and writes one by one; an `Answer` is bytes already. Either
costs more than all that the limiter does itself. What has to wait, or to stream, goes the long way, as on any other server.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from limiter.api.answers import AT_ONCE
from limiter.api.downstream import DownstreamProtocol
from limiter.api.front import Begun


class FrontProtocol(DownstreamProtocol):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # An access log, for one, is an application around the front, and sees to every request.
        self._front = self.app if hasattr(self.app, "begin") else None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # A client that does not take its answers in has to wait for them, which a callback cannot.
        begun: Begun | None = None if self._front is None or self.flow.write_paused else self._front.begin(cycle.scope)
        if begun is None:
            self._go_the_long_way(cycle, app)
        else:
            begun.verdict.add_done_callback(partial(self._finish, cycle, begun))

    def _go_the_long_way(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.scope[AT_ONCE] = partial(self._answer_unless_full, cycle)  # type: ignore[literal-required]
        super()._start_asgi_task(cycle, app)

    def _finish(self, cycle: RequestResponseCycle, begun: Begun, _: asyncio.Future[Any]) -> None:
        answer = self._front.end(begun) if self._front is not None else None
        if answer is None:
            self._go_the_long_way(cycle, self.app)
        else:
            self._answer(cycle, answer.status, answer.head, answer.body)

    def _answer_unless_full(self, cycle: RequestResponseCycle, status: int, head: bytes, body: bytes) -> bool:
        if self.flow.write_paused or cycle.response_started:
            return False
        self._answer(cycle, status, head, body)
        return True

    def _answer(self, cycle: RequestResponseCycle, status: int, head: bytes, body: bytes) -> None:
        """Write the answer, as the cycle would."""
        if cycle.disconnected:
            return
        cycle.response_started = cycle.response_complete = True
        default = b"".join([b"%b: %b\r\n" % header for header in cycle.default_headers])
        close = b"" if cycle.keep_alive else b"connection: close\r\n"
        sent = b"" if cycle.scope["method"] == "HEAD" else body
        self.transport.write(b"%b%b%bcontent-length: %d\r\n%b\r\n%b" % (STATUS_LINE[status], default, head, len(body), close, sent))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
