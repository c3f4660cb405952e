"""The errors of the proxy. Messages are for the client, so they do not contain upstream's address.

ProxyError              has a status, an RFC 9209 error type and a message
├── RequestRefused      400: the request is ambiguous or cannot be passed on; 408, 431: its head or body
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

from limiter.problems import CONTENT_TYPE, problem_body

Headers = Sequence[tuple[bytes, bytes]]


class ClientGone(Exception):
    pass


class ProxyError(Exception):
    status = 502
    error = "proxy_internal_error"

    def __init__(self, detail: str, *, status: int | None = None, error: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status or self.status
        self.error = error or self.error


class RequestRefused(ProxyError):
    status = 400
    error = "http_request_error"


class Unreachable(ProxyError):
    error = "destination_unavailable"


class ConnectionClosed(ProxyError):
    error = "connection_terminated"


class MalformedResponse(ProxyError):
    error = "http_protocol_error"


class UpstreamStalled(ProxyError):
    status = 504
    error = "http_response_timeout"


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
