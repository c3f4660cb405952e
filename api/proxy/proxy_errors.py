"""The errors of the proxy. Messages are for the client, so they do not contain upstream's address.

ProxyError              has a status, an RFC 9209 error type and a message
├── RequestRefused      400: the request is ambiguous or cannot be passed on; 408, 431: its head or body
│   └── TooMuchHeld     503: all connections together hold too much
├── Unreachable         502: upstream cannot be connected to; 504: not in time
├── ConnectionClosed    502: upstream closed the connection before its response was complete
├── MalformedResponse   502: upstream's response is not valid HTTP/1.1
└── UpstreamStalled     504: upstream did not answer in time, or stopped sending

ClientGone              the client closed its connection
"""

from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus

from starlette.types import Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from limiter.api.answers import PROBLEM_TYPE, head_of
from limiter.problems import CONTENT_TYPE, REDUCED_CAPACITY, problem_body

Headers = Sequence[tuple[bytes, bytes]]


class ClientGone(Exception):
    pass


class ProxyError(Exception):
    status = 502
    error = "proxy_internal_error"
    kind = "about:blank"
    headers: Headers = ()

    def __init__(self, detail: str, *, status: int | None = None, error: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status or self.status
        self.error = error or self.error


class RequestRefused(ProxyError):
    status = 400
    error = "http_request_error"


class TooMuchHeld(RequestRefused):
    status = 503
    kind = REDUCED_CAPACITY
    headers = ((b"retry-after", b"1"),)


class Unreachable(ProxyError):
    error = "destination_unavailable"


class ConnectionClosed(ProxyError):
    error = "connection_terminated"


class MalformedResponse(ProxyError):
    error = "http_protocol_error"


class UpstreamStalled(ProxyError):
    status = 504
    error = "http_response_timeout"


def response_to_refused(refusal: ProxyError, first_headers: Headers, *, to_head: bool) -> bytes:
    """The response to a request that no application gets. It closes the connection."""
    body = problem_body(refusal.status, refusal.detail, kind=refusal.kind)
    headers = [*first_headers, *refusal.headers, PROBLEM_TYPE, (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    return STATUS_LINE[refusal.status] + head_of(headers) + b"\r\n" + (b"" if to_head else body)


async def send_error(send: Send, error: ProxyError, extra: Headers) -> None:
    """Sends the error to the client. Its `Proxy-Status` header distinguishes it from an error response of upstream."""
    body = problem_body(error.status, error.detail)
    headers = [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"date", formatdate(usegmt=True).encode()),
        (b"proxy-status", b"limiter; error=" + error.error.encode()),
    ]
    if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        # After a request that was refused, the rest of the connection cannot be trusted.
        headers.append((b"connection", b"close"))
    replaced = {name.lower() for name, _ in extra}
    headers = [header for header in headers if header[0] not in replaced]
    await send({"type": "http.response.start", "status": error.status, "headers": [*headers, *extra]})
    await send({"type": "http.response.body", "body": body})
