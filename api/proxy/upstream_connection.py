"""One connection to upstream: an asyncio protocol around httptools' response parser, with one exchange at a time.

This file decides whether a response is complete and whether its connection can be used again. A response that upstream sends before it
was asked is given to no request, and ends the connection. What is held is bounded: upstream is read only while the client takes what was
read before, and `write` waits until upstream has taken everything.
"""

import asyncio
import select
from typing import cast

import httptools

from limiter.api.proxy.cork import Cork
from limiter.api.proxy.heads import MAX_HEAD, Header, head_size
from limiter.api.proxy.proxy_errors import ConnectionClosed, MalformedResponse, UpstreamStalled
from limiter.api.proxy.response_head import NO_CONTENT, NOT_MODIFIED, Framing, ResponseHead, response_framing
from limiter.api.proxy.small_reads import BUFFER, NOTHING_UNSENT, READ, undecrypted
from limiter.api.rules import UpstreamTimeouts

CONTINUE_AFTER = 1.0  # seconds after which a client gets `100 Continue` even if upstream does not send it
CONTINUE, SWITCHING_PROTOCOLS, OK = 100, 101, 200


class Connection(asyncio.BufferedProtocol):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timeouts: UpstreamTimeouts
        self._transport: asyncio.Transport
        self._out: Cork
        self._waiters: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._write_paused = self._read_paused = False
        self.closed = False
        self.exchanges = self._buffered = 0
        self.idle_since = 0.0
        self._complete = True

    # Called by an exchange.

    def begin(self, head: bytes, timeouts: UpstreamTimeouts, *, to_head: bool) -> None:
        """Starts an exchange with a request's head. A response to HEAD has no body, whatever its headers say."""
        self.failure: Exception | None = None
        # Whether the upstream waits for the client, not the client for the upstream.
        self.awaits_client = False
        self._timeouts = timeouts
        self.answered = self._complete = self._allowed = self._surplus = False
        self._to_head = to_head
        self._head: ResponseHead | None = None
        self._framing: Framing | None = None
        self._headers: list[Header] = []
        self._head_bytes = self._buffered = 0
        self._body: list[bytes] = []
        # A new parser for each response, so that no state carries over.
        self._parser = httptools.HttpResponseParser(self)
        self.exchanges += 1
        self._last_progress = self._loop.time()
        self._timer = self._loop.call_later(timeouts.head, self._check_for_stall)
        self._out.write(head)

    async def write(self, data: bytes) -> None:
        """Sends a part of the request's body. Waits while upstream does not read."""
        if self.failure is None and not self.closed:
            self._out.write(data)
            self._last_progress = self._loop.time()
        while self._write_paused and self.failure is None and not self._complete:
            await self._changed()

    async def may_continue(self) -> bool:
        """Waits for `100 Continue`, at most CONTINUE_AFTER seconds. Returns False if the response arrived or failed instead."""
        timer = self._loop.call_later(CONTINUE_AFTER, self._allow)
        try:
            while not self._allowed and self._head is None and self.failure is None:
                await self._changed()
        finally:
            timer.cancel()
        return self._head is None and self.failure is None

    async def response(self) -> ResponseHead:
        while True:
            if self.failure is not None:
                raise self.failure
            if self._head is not None:
                return self._head
            await self._changed()

    async def read(self) -> bytes:
        """The next part of the response's body. It is empty only at the end."""
        while not self._body and not self._complete:
            if self.failure is not None:
                raise self.failure
            self._read_on()
            await self._changed()
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        self._buffered = 0
        if self._complete:
            self._read_on()
        return body

    @property
    def held(self) -> int:
        """How many bytes wait here for the client or for upstream."""
        return 0 if self.closed else self._buffered + self._transport.get_write_buffer_size() + self._undecrypted()

    @property
    def ended(self) -> bool:
        return self._complete and not self._body

    @property
    def reusable(self) -> bool:
        return (
            self._complete
            and self._framing is not None
            and self._framing.keep_alive
            and not (self._surplus or self.closed or self._write_paused)
        )

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has arrived on an idle connection that the event loop has not seen yet. It would be read as the next answer."""
        return not self.closed and not self._poll.poll(0)

    def fail(self, failure: Exception) -> None:
        """Ends the exchange and closes the connection."""
        if self.failure is None:
            self.failure = failure
        self.close()
        self._wake()

    def close(self) -> None:
        self._disarm()
        self.closed = True
        self._out.abort()

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(**NOTHING_UNSENT)
        self._out = Cork(self._loop, self._transport)
        self._undecrypted = undecrypted(self._transport)
        self._poll = select.poll()
        self._poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - always the same one
        return BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        if self._complete:
            self.close()  # data that answers no request
            return
        if self._out.holds and not self.answered:
            self.fail(ConnectionClosed("The upstream sent a response before it was asked."))
            return
        self.answered = True
        if self._head is None:
            self._head_bytes += nbytes
        else:
            self._last_progress = self._loop.time()
        try:
            self._parser.feed_data(BUFFER[:nbytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._surplus = True
            if not self._complete:
                known = error.__context__ if isinstance(error.__context__, MalformedResponse) else None
                self.fail(known or MalformedResponse("The upstream's response is not valid HTTP/1.1."))
        else:
            if self._head is None and self._head_bytes > MAX_HEAD:
                self.fail(_too_large())
        if self._buffered >= READ and not self._read_paused and not self.closed:
            self._read_paused = True
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._framing is not None and self._framing.until_close and exc is None:
            self._finish()
        if not self._complete:
            part = "before it answered" if self._head is None else "in the middle of its response"
            self.fail(ConnectionClosed(f"The upstream closed the connection {part}."))
        self._disarm()

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._last_progress = self._loop.time()
        self._wake()

    # Called by the parser.

    def on_message_begin(self) -> None:
        if self._complete:
            self._surplus = True  # a second response to the same request

    def on_header(self, name: bytes, value: bytes) -> None:
        # Headers after the head are trailers, which are dropped (RFC 9110 §6.5.1).
        if self._head is None:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._surplus:
            return
        status = self._parser.get_status_code()
        if self._head_bytes > MAX_HEAD and head_size(self._headers) > MAX_HEAD:
            raise _too_large()
        if CONTINUE <= status < OK:
            self._interim(status)
            return
        head = ResponseHead.of(self._parser.get_http_version(), status, self._headers)
        bodiless = self._to_head or status in (NO_CONTENT, NOT_MODIFIED)
        self._framing = response_framing(head, bodiless=bodiless)
        self._head = head
        self._last_progress = self._loop.time()
        if bodiless:
            self._finish()
        elif self._timeouts.body < self._timeouts.head:
            self._disarm()
            self._timer = self._loop.call_later(self._timeouts.body, self._check_for_stall)
        self._wake()

    def on_body(self, body: bytes) -> None:
        if self._complete:
            self._surplus = True
            return
        self._body.append(body)
        self._buffered += len(body)
        self._wake()

    def on_message_complete(self) -> None:
        if self._head is not None and not self._complete:
            self._finish()

    def _read_on(self) -> None:
        if self._read_paused and not self.closed:
            self._read_paused = False
            self._last_progress = self._loop.time()
            self._transport.resume_reading()

    def _interim(self, status: int) -> None:
        """ASGI cannot pass on a 1xx status, but it shows that upstream is working."""
        if status == SWITCHING_PROTOCOLS:
            raise MalformedResponse("The upstream switched protocols without a request to do so.")
        self._headers = []
        self._last_progress = self._loop.time()
        self._allow()

    def _finish(self) -> None:
        self._complete = True
        self._disarm()
        self._wake()

    def _allow(self) -> None:
        self._allowed = True
        self._wake()

    def _check_for_stall(self) -> None:
        within = self._timeouts.head if self._head is None else self._timeouts.body
        # The listener bounds how long a client may be slow.
        left = within if self._read_paused or self.awaits_client else self._last_progress + within - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._check_for_stall)
        else:
            part = "did not answer" if self._head is None else "sent no further part of its response"
            self.fail(UpstreamStalled(f"The upstream {part} within {within:g} s."))

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _changed(self) -> None:
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def _too_large() -> MalformedResponse:
    return MalformedResponse(f"The upstream's response head is over {MAX_HEAD // 1024} KiB.", error="http_response_header_section_size")
