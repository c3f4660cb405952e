"""One request and its response, over one connection to upstream."""

import asyncio

from starlette.types import Message, Receive, Send

from limiter.api.proxy.proxy_errors import ClientGone, Headers, RequestRefused
from limiter.api.proxy.request_head import IDEMPOTENT, Request
from limiter.api.proxy.response_head import ResponseHead, response_headers
from limiter.api.proxy.upstream import Upstream
from limiter.api.proxy.upstream_connection import Connection


class Exchange:
    def __init__(self, upstream: Upstream, connection: Connection, request: Request, receive: Receive) -> None:
        self._upstream = upstream
        self._connection = connection
        self._request = request
        self._upload = Upload(connection, request, receive)
        self._task: asyncio.Task[None] | None = None
        self._ended = False
        self._sending = 0
        self._head: ResponseHead

    @property
    def may_be_repeated(self) -> bool:
        connection = self._connection
        return connection.exchanges > 1 and not connection.answered and not self._upload.begun and self._request.method in IDEMPOTENT

    def held(self) -> int:
        """How many bytes wait for the client or for upstream, besides those that the client's connection holds itself."""
        return self._sending + (0 if self._ended else self._connection.held)

    async def begin(self) -> None:
        """Sends the request, and returns when the response's head has arrived."""
        # The upload starts first, so that a body that has already arrived is sent together with the head.
        self._task = asyncio.create_task(self._upload.run())
        self._connection.begin(self._request.head, self._upstream.timeouts(), to_head=self._request.method == "HEAD")
        try:
            self._head = await self._connection.response()
        except BaseException:
            self.end()
            raise

    async def relay(self, send: Send, headers: Headers) -> None:
        start = response_headers(self._head, headers)
        if self._upload.unwanted:
            # The client got no `100 Continue`, and may or may not send the body.
            start.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": self._head.status, "headers": start})
        ended = False
        while not ended:
            body = await self._connection.read()
            ended = self._connection.ended
            if ended:
                self.end()  # upstream is free again, even if the client reads slowly
            self._sending = len(body)
            await send({"type": "http.response.body", "body": body, "more_body": not ended})
            self._sending = 0

    def end(self) -> None:
        """Releases the connection. It is closed unless the request and the response are complete."""
        if self._ended:
            return
        self._ended = True
        if self._task is not None:
            self._task.cancel()
        if self._upload.complete:
            self._upstream.release(self._connection)
        else:
            self._connection.close()


class Upload:
    """The client's side of an exchange: sends its body to upstream, and ends the exchange when it disconnects."""

    def __init__(self, connection: Connection, request: Request, receive: Receive) -> None:
        self._connection = connection
        self._receive = receive
        self._chunked = request.length is None
        self._left = request.length or 0
        self._expects_continue = request.expects_continue
        self.complete = request.length == 0
        self.begun = False

    @property
    def unwanted(self) -> bool:
        return self._expects_continue and not self.begun

    async def run(self) -> None:
        if self._expects_continue and not await self._connection.may_continue():
            return
        while True:
            # The call makes the server send `100 Continue`.
            self._connection.awaits_client = not self.complete
            message = await self._receive()
            self._connection.awaits_client = False
            if message["type"] == "http.disconnect":
                self._connection.fail(ClientGone())
                return
            if not self.complete:
                self.begun = True
                await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        body, more = message.get("body", b""), message.get("more_body", False)
        self.complete = not more
        if self._chunked:
            await self._connection.write(_chunk(body, last=not more))
            return
        self._left -= len(body)
        if self._left < 0 or (self._left and not more):
            self._connection.fail(RequestRefused("The length of the request's body must match its Content-Length."))
        elif body:
            await self._connection.write(body)


def _chunk(body: bytes, *, last: bool) -> bytes:
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return chunk + b"0\r\n\r\n" if last else chunk
