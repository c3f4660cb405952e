"""The client's side of a connection: uvicorn's HTTP protocol, made strict enough for a proxy. For uvicorn: `http=DownstreamProtocol`.

- A head or trailers over 64 KiB, or with more than 256 headers, get 431. uvicorn has no bound.
- A request is parsed when the one before it is answered. uvicorn parses and queues all that have arrived.
- A request line of another protocol than HTTP/1.0 and HTTP/1.1, or with more than two spaces, is refused. The parser accepts it.
- Trailers are dropped. uvicorn appends them to the headers, so a body could add an X-Forwarded-For.
- An upgrade with a body is refused. The parser would read that body as the next request.
- A target in absolute form must agree with Host, as an application sees only Host.
- A target with a fragment is refused, and `path` is as on the wire. uvicorn drops the fragment, and takes milliseconds to decode 64 KB.
- A response of unknown length to an HTTP/1.0 client ends with the connection. uvicorn would send chunks.
- A head and its body are sent in one system call.
- A response has one Date. uvicorn adds its own to that of upstream.
- uvicorn's timer for idle connections is not used: `server/client_connections.py` ends connections that wait for their client for too long.
- Bytes that are not a valid request get a problem+json response, after the answers to the requests before them.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from limiter.api.answers import HELD
from limiter.api.proxy.cork import Cork
from limiter.api.proxy.heads import HTTP_VERSIONS, MAX_HEAD, MAX_HEADERS, first_line, head_size, origin_form
from limiter.api.proxy.inflow import BODY, END_OF_HEAD, HEAD, REQUEST, Inflow, Part, nothing
from limiter.api.proxy.proxy_errors import ProxyError, RequestRefused, TooMuchHeld, response_to_refused
from limiter.api.proxy.request_head import check_request
from limiter.api.proxy.senders import closing_at_the_end, dated_once, run
from limiter.api.proxy.small_reads import NOTHING_UNSENT, READ, undecrypted

# What a header takes in memory besides its bytes.
_HEADER = 128


class DownstreamProtocol(HttpToolsProtocol):
    # uvicorn replaces it with None only when the connection is lost.
    parser: httptools.HttpRequestParser
    _inflow: Inflow

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Bytes received since the last complete head or part of a body: an unfinished head, or trailers.
        self._pending = 0
        self._refusal: ProxyError | None = None
        # Whether the refusal is sent when the requests before it are answered.
        self._is_refusing = False
        # The bytes with the request line. If the request begins behind another one in the same bytes, they are in `_mixed`.
        self._line = self._mixed = b""
        # The part of a request that the parser expects or reads.
        self._part = REQUEST
        # For `server/client_connections.py`: how many heads have begun, the bytes of bodies, what to call when much is held, at the end.
        self.turns = 0
        self.received = 0
        self.on_full: Callable[[], object] = nothing
        self.on_lost: Callable[[], object] = nothing

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._plain_transport = transport
        transport.set_write_buffer_limits(**NOTHING_UNSENT)
        self._undecrypted = undecrypted(transport)
        self._cork = Cork(self.loop, transport)
        self.transport = self._cork  # type: ignore[assignment]
        self.flow = self._inflow = Inflow(self.loop, transport, self._read_on)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.on_lost()
        # Without cycles of references, the memory is free at once and not when the garbage collector runs.
        self._inflow.end()
        self.on_lost = self.on_full = nothing

    def pause_writing(self) -> None:
        super().pause_writing()
        self.on_full()

    def data_received(self, data: bytes) -> None:
        flow = self._inflow
        if flow.unread or -1 < data.find(END_OF_HEAD) < len(data) - len(END_OF_HEAD):
            flow.keep(data)
            self._read_on()
        else:
            self._parse(data)

    def _read_on(self) -> None:
        flow = self._inflow
        while flow.unread and not flow.read_paused:
            if self._part is not BODY and self._is_answering():
                flow.pause_reading()
            else:
                self._parse(flow.take(of_body=self._part is BODY))
            if self.transport.is_closing():
                flow.drop()
                return
        flow.receive()

    def _parse(self, data: bytes) -> None:
        self._pending += len(data)
        if self._part is REQUEST:
            self._line = data
        else:
            self._keep(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        except httptools.HttpParserUpgrade:
            self._on_upgrade()
        if self._mixed and (self._line or self._part is not HEAD):
            self._mixed = b""
        if self._pending:
            self._line = first_line(self._line)
            self.on_full()
            if self._exceeds_head() and not self._is_refusing and not self.transport.is_closing():
                self._refusal = _too_large()
                self.send_400_response("")

    def _keep(self, data: bytes) -> None:
        """Keeps the request line, wherever the segments end. Another request can begin in each of them."""
        self._mixed = self._mixed + data if self._part is HEAD and not self._line else data
        if self._line and self._part is HEAD and not self.headers:
            self._line += data

    def _on_upgrade(self) -> None:
        """Ignores an offer to upgrade, but for WebSocket if the server supports it."""
        if self._should_upgrade():
            self.transport = self._plain_transport  # the other protocol needs all methods of a transport
            self.handle_websocket_upgrade()

    def _exceeds_head(self) -> bool:
        return self._pending > MAX_HEAD or (self._part is HEAD and len(self.headers) > MAX_HEADERS)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def is_connected(self) -> bool:
        """Whether the handshake of TLS is over, if there is one."""
        return self.flow is not None

    @property
    def awaited(self) -> Part | None:
        """What the client has to send next. None while it has to wait for us."""
        if self.flow.read_paused:
            return None
        if not self._is_answering():
            return HEAD if self._part is HEAD else REQUEST
        return BODY if self.cycle.more_body and not self.cycle.waiting_for_100_continue else None

    @property
    def sent(self) -> int:
        """How many bytes have left for the kernel, of those that were written."""
        return self._cork.written - self.unsent

    @property
    def unsent(self) -> int:
        return self._plain_transport.get_write_buffer_size()

    @property
    def held(self) -> int:
        """How many bytes are held for this connection, in both directions."""
        of_head = len(self._line) + len(self._mixed) + self._pending + _HEADER * len(self.headers or ())
        held = self.unsent + self._undecrypted() + len(self._inflow.unread) + of_head
        if isinstance(self.cycle, RequestResponseCycle):
            held += len(self.cycle.body) + cast("int", self.cycle.scope.get(HELD, int)())  # type: ignore[operator]
        return held

    def give_up(self) -> None:
        """Ends the connection because all of them hold too much. The client gets 503 if it can still read it as the answer."""
        begun = self.cycle.more_body and not self.cycle.response_started if self._is_answering() else self._part is not REQUEST
        if begun and not self.unsent and not self._is_refusing:
            self._refusal = TooMuchHeld("The limiter holds too much for its connections; try again.")
            self._write_refusal()
        else:
            self.abort()

    def time_out(self, awaited: Part) -> None:
        """Ends a connection whose client did not send in time what was awaited."""
        if awaited is REQUEST:
            self.transport.close()
        else:
            self._refusal = RequestRefused(f"The request's {awaited.name.lower()} did not arrive in time.", status=408)
            self.send_400_response("")

    def abort(self) -> None:
        """Ends the connection at once, without what is still unsent."""
        self._plain_transport.abort()

    def on_message_begin(self) -> None:
        self._part = HEAD
        self.turns += 1
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        try:
            self._check_head()
        except ProxyError as refusal:
            self._refusal = refusal
            raise
        self._pending = 0
        http_1_0 = self.parser.get_http_version() == "1.0"
        if http_1_0:
            self.expect_100_continue = False  # RFC 9110 §10.1.1
        self._complete_head()
        self._part = BODY
        if not self.parser.should_upgrade():
            self.headers = []  # what the parser adds from here on are trailers
        if http_1_0:
            self.cycle.send = closing_at_the_end(self.cycle)  # type: ignore[method-assign, assignment]

    def _complete_head(self) -> None:
        target, self.url = self.url, b"/"
        super().on_headers_complete()
        self.url = target
        path, mark, query = origin_form(target).partition(b"?")
        # The application runs in a task, which begins later.
        self.scope["path"], self.scope["raw_path"], self.scope["query_string"] = path.decode("ascii"), path, query
        if mark and not query:
            self.scope["limiter.empty_query"] = True  # type: ignore[typeddict-unknown-key]

    def on_body(self, body: bytes) -> None:
        self._pending = 0
        self.received += len(body)
        super().on_body(body)
        if len(self.cycle.body) >= READ and not self.cycle.response_complete:
            self.flow.pause_reading()
            self.on_full()

    def on_message_complete(self) -> None:
        self._part = REQUEST
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.send = dated_once(cycle)  # type: ignore[method-assign, assignment]
        self.start_task(run(cycle, app))

    def start_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs it in one of the tasks that the server waits for before it stops."""
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._is_refusing:
            self._write_refusal()

    def send_400_response(self, msg: str) -> None:
        """Answers the request that is not valid, after those before it, and closes the connection."""
        if self._is_refusing:
            return
        self._refusal = self._refusal or RequestRefused(msg)
        has_begun = self._is_answering() and self.cycle.more_body
        if self.pipeline or (self._is_answering() and not has_begun):
            if has_begun:
                self.pipeline.popleft()
            self._is_refusing = True
            self._parse = nothing  # type: ignore[assignment, method-assign]
            self._inflow.drop()
        elif has_begun and self.cycle.response_started:
            self.transport.close()
        else:
            self._write_refusal()

    def _write_refusal(self) -> None:
        refusal = self._refusal or RequestRefused("")
        self.transport.write(response_to_refused(refusal, self.server_state.default_headers, to_head=self._is_head()))
        self.transport.close()

    def _is_head(self) -> bool:
        """Whether the request that the parser reads has the method HEAD."""
        return self._part is not REQUEST and bool(self.url) and self.parser.get_method() == b"HEAD"

    def _check_head(self) -> None:
        self._check_line()
        if len(self.headers) > MAX_HEADERS or (self._pending > MAX_HEAD and head_size(self.headers) + len(self.url) > MAX_HEAD):
            raise _too_large()
        check_request(self.parser.get_method(), self.url, self.headers, upgrades=self.parser.should_upgrade())

    def _check_line(self) -> None:
        """llhttp accepts other versions, other protocols (RTSP, ICE) and more spaces. Others could read such a line differently."""
        version = self.parser.get_http_version()
        if version not in HTTP_VERSIONS:
            raise RequestRefused("The request's version of HTTP must be 1.0 or 1.1.", status=505)
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version.encode())
        # Where a request begins behind another one, only the parser knows.
        if not (self._line.lstrip(b"\r\n").startswith(line) if self._line else line in self._mixed):
            raise RequestRefused("The request must begin with a method, a target and HTTP/1.1, with one space between them.")
        self._line = b""


def _too_large() -> ProxyError:
    return RequestRefused(f"The request must have at most {MAX_HEADERS} headers, of {MAX_HEAD // 1024} KiB in all.", status=431)
