"""Why the proxy could not answer with upstream's own response.

    ProxyError            its status, its RFC 9209 error type and a sentence for the client
    ├── RequestRefused      400: the request could be read in two ways, or is not ours to pass on
    ├── ClientStalled       408: the request's body stopped coming
    ├── Unreachable         502: no connection to upstream
    ├── ConnectTimedOut     504: no connection to upstream in time
    ├── ConnectionClosed    502: upstream hung up before its response was whole
    ├── MalformedResponse   502: upstream answered something that is no HTTP/1.1 response
    └── UpstreamStalled     504: upstream fell silent

    ClientGone              nobody is left to be answered

No message names upstream's address: the client has no business with it.
"""

from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus

from starlette.types import Send

from limiter.problems import problem_body

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


class ClientStalled(ProxyError):
    status = 408
    error = "http_request_error"


class Unreachable(ProxyError):
    status = 502
    error = "destination_unavailable"


class ConnectTimedOut(ProxyError):
    status = 504
    error = "connection_timeout"


class ConnectionClosed(ProxyError):
    status = 502
    error = "connection_terminated"


class MalformedResponse(ProxyError):
    status = 502
    error = "http_protocol_error"


class UpstreamStalled(ProxyError):
    status = 504
    error = "http_response_timeout"


async def send_error(send: Send, failure: ProxyError, extra: Headers) -> None:
    """Answer with the failure. `Proxy-Status` tells it from an error that upstream answered itself."""
    body = problem_body(failure.status, failure.detail)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"date", formatdate(usegmt=True).encode()),
        (b"proxy-status", b"limiter; error=" + failure.error.encode()),
    ]
    if failure.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        # What else this connection carries is as doubtful as the request that was refused.
        headers.append((b"connection", b"close"))
    replaced = {name.lower() for name, _ in extra}
    headers = [header for header in headers if header[0] not in replaced]
    await send({"type": "http.response.start", "status": failure.status, "headers": [*headers, *extra]})
    await send({"type": "http.response.body", "body": body})
