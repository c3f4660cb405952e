"""The front's side of a connection: the strict protocol of the proxy, and a short way out for answers that are whole.

An ASGI application sends a head and a body, whose headers the server then checks and writes one by one. That costs more than all that
the limiter does; so `Answer.send` hands over bytes instead, where this protocol is the server.
"""

from __future__ import annotations

from functools import partial

from limiter.api.answers import AT_ONCE
from limiter.api.downstream import DownstreamProtocol
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


class FrontProtocol(DownstreamProtocol):
    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        # The application runs in a task that has not begun yet.
        self.scope[AT_ONCE] = partial(self._answer, self.cycle)  # type: ignore[literal-required]

    def _answer(self, cycle: RequestResponseCycle, status: int, head: bytes, body: bytes) -> bool:
        """Write the answer, as the cycle would; False if the client does not take it in at the moment."""
        if cycle.disconnected:
            return True
        if self.flow.write_paused or cycle.response_started:
            return False
        cycle.response_started = cycle.response_complete = True
        default = b"".join([b"%b: %b\r\n" % header for header in cycle.default_headers])
        close = b"" if cycle.keep_alive else b"connection: close\r\n"
        sent = b"" if cycle.scope["method"] == "HEAD" else body
        self.transport.write(b"%b%b%bcontent-length: %d\r\n%b\r\n%b" % (STATUS_LINE[status], default, head, len(body), close, sent))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        return True
