"""The client's side of a connection: uvicorn's HTTP protocol, made strict enough for a proxy. For uvicorn: `http=DownstreamProtocol`.

- A head or trailers over 64 KiB get 431. uvicorn has no bound.
- Trailers are dropped. uvicorn appends them to the headers, so a body could add an X-Forwarded-For.
- An upgrade with a body is refused. The parser would read that body as the next request.
- A target in absolute form must agree with Host, as an application sees only Host.
- A target with a fragment is refused, and `path` is as on the wire. uvicorn drops the fragment, and takes milliseconds to decode 64 KB.
- A response of unknown length to an HTTP/1.0 client ends with the connection. uvicorn would send chunks.
- A head and its body are sent in one system call.
- Bytes that are not a valid request get a problem+json response, but never in the middle of another response.
"""

import asyncio
from typing import Any

import httptools
from starlette.types import Message, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from limiter.api.proxy.cork import Cork
from limiter.api.proxy.heads import MAX_HEAD, head_size
from limiter.api.proxy.proxy_errors import ProxyError, RequestRefused
from limiter.api.routes.faults import FRAGMENT
from limiter.problems import problem_body


class DownstreamProtocol(HttpToolsProtocol):
    # uvicorn replaces it with None only when the connection is lost.
    parser: httptools.HttpRequestParser

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Bytes received since the last complete head or part of a body: an unfinished head, or trailers.
        self._pending = 0
        self._refusal: ProxyError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._plain_transport = transport
        self._cork = Cork(self.loop, transport)
        self.transport = self._cork  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._pending += len(data)
        super().data_received(data)
        if self._pending > MAX_HEAD and not self.transport.is_closing():
            self._refusal = _too_large()
            self.send_400_response("")

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
        if not self.parser.should_upgrade():
            self.headers = []  # what the parser adds from here on are trailers
        if http_1_0:
            self.cycle.send = _closing_at_the_end(self.cycle)  # type: ignore[method-assign, assignment]

    def _complete_head(self) -> None:
        target, self.url = self.url, b"/"
        super().on_headers_complete()
        self.url = target
        path, mark, query = _origin_form(target).partition(b"?")
        # The application runs in a task, which begins later.
        self.scope["path"], self.scope["raw_path"], self.scope["query_string"] = path.decode("ascii"), path, query
        if mark and not query:
            self.scope["limiter.empty_query"] = True  # type: ignore[typeddict-unknown-key]

    def on_body(self, body: bytes) -> None:
        self._pending = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        if not self._can_respond():
            self.transport.close()
            return
        refusal = self._refusal or RequestRefused(msg)
        body = problem_body(refusal.status, refusal.detail)
        head = b"content-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[refusal.status] + head + body)
        self.transport.close()

    def handle_websocket_upgrade(self) -> None:
        self.transport = self._plain_transport  # the other protocol needs all methods of a transport
        super().handle_websocket_upgrade()

    def _unsupported_upgrade_warning(self) -> None:
        """No-op: ignoring an offer to upgrade is normal."""

    def _check_head(self) -> None:
        if self._pending > MAX_HEAD and head_size(self.headers) + len(self.url) > MAX_HEAD:
            raise _too_large()
        if self.parser.should_upgrade() and self._drops_what_follows():
            raise RequestRefused("A request to upgrade the protocol must not have a body.", status=501)
        if b"#" in self.url:
            raise RequestRefused(FRAGMENT.detail)
        if self.url[:1] != b"/":
            self._check_authority()

    def _drops_what_follows(self) -> bool:
        bodies = (name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in self.headers)
        return self.parser.get_method() == b"CONNECT" or any(bodies)

    def _check_authority(self) -> None:
        if self.url == b"*":
            return
        authority = _authority(self.url.partition(b"://")[2]).lower()
        if not authority or [value.lower() for name, value in self.headers if name == b"host"] != [authority]:
            raise RequestRefused("The request's target and its Host must name the same authority.")

    def _can_respond(self) -> bool:
        """Whether the client would read a response now as the answer to the bytes that it just sent."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return True
        return cycle.more_body and not cycle.response_started and not self.pipeline


def _origin_form(target: bytes) -> bytes:
    """The target from its path on. The authority of an absolute form has been compared with Host."""
    if target[:1] == b"/" or target == b"*":
        return target
    rest = target.partition(b"://")[2]
    path = rest[len(_authority(rest)) :]
    return path if path[:1] == b"/" else b"/" + path


def _authority(rest: bytes) -> bytes:
    return rest.partition(b"/")[0].partition(b"?")[0]


def _closing_at_the_end(cycle: RequestResponseCycle) -> Send:
    send, unknown_length = cycle.send, False

    async def send_unchunked(message: Message) -> None:
        nonlocal unknown_length
        if message["type"] == "http.response.start":
            unknown_length = not any(name.lower() == b"content-length" for name, _ in message["headers"])
            if unknown_length:
                cycle.chunked_encoding = False
        elif unknown_length:
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)  # type: ignore[arg-type]

    return send_unchunked


def _too_large() -> ProxyError:
    return RequestRefused(f"The request's headers must be at most {MAX_HEAD // 1024} KiB.", status=431)
