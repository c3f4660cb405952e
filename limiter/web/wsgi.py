"""`RateLimitMiddleware`: for any WSGI application, such as one of Pyramid or Bottle.

    app = RateLimitMiddleware(app, "redis://localhost", ["100/minute", "1000/hour"])

A request is decided before the application sees it. A denied one gets its response from the middleware; the response to an admitted one
gets the headers. Bodies are not touched: the server gets the iterable of the application itself. Only if a limit has `refund_when`, the
status and the headers are held until the first part of the body, because a WSGI application may replace them until then.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Unpack, cast
from urllib.parse import parse_qsl
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from limiter.addresses import canonical
from limiter.decision import Decision
from limiter.sync import Limiter
from limiter.web.core.admission import Admission
from limiter.web.core.declaration import Declared, Options
from limiter.web.core.handling import HANDLING, Handling, headers_of
from limiter.web.core.rate_limit import RateLimit
from limiter.web.core.ruling import Denial
from limiter.web.core.running import run

__all__ = ["RateLimit", "RateLimitMiddleware", "Request", "decision_of"]

# Where the application finds the Decision on its request.
DECISION = "limiter.decision"

Headers = list[tuple[str, str]]
Write = Callable[[bytes], object]
OnDenied = Callable[["Request", Denial], WSGIApplication]


class Request:
    """What functions such as `subject=` get. `headers` have lower-case names."""

    __slots__ = ("environ",)

    def __init__(self, environ: WSGIEnvironment) -> None:
        self.environ = environ

    @property
    def request(self) -> "Request":
        return self

    @property
    def method(self) -> str:
        return str(self.environ["REQUEST_METHOD"])

    @property
    def path(self) -> str:
        path: str = self.environ.get("SCRIPT_NAME", "") + self.environ.get("PATH_INFO", "")
        # WSGI keeps the bytes of the path as characters.
        return path if path.isascii() else path.encode("latin-1").decode("utf-8", "replace")

    @property
    def paths(self) -> tuple[str]:
        return (self.path,)

    @property
    def headers(self) -> Mapping[str, str]:
        found = {name[5:].replace("_", "-").lower(): str(value) for name, value in self.environ.items() if name.startswith("HTTP_")}
        own = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
        return found | {name: str(self.environ[key]) for name, key in own.items() if self.environ.get(key)}

    @property
    def query(self) -> Mapping[str, str]:
        return dict(parse_qsl(self.environ.get("QUERY_STRING", ""), keep_blank_values=True))

    @property
    def peer(self) -> str:
        return peer_of(self.environ)

    @property
    def forwarded_for(self) -> str:
        return forwarded_for(self.environ)

    @property
    def client_address(self) -> str:
        """The address of the client, behind trusted proxies."""
        handling: Handling[Any] = self.environ[HANDLING]
        return handling.client_address


class RateLimitMiddleware:
    """Limits every request, by the address of its client unless a RateLimit says otherwise.

    `redis`: a URL, or a Limiter. `limits`: the default limits. `on_denied` gets the request and the denial, and returns the response as a
    WSGI application; the headers are added to it. For the other options see `Options`.

    The application finds the Decision in `environ["limiter.decision"]`.
    """

    def __init__(
        self,
        app: WSGIApplication,
        redis: Limiter | str,
        limits: Declared[Request] = (),
        *,
        on_denied: OnDenied | None = None,
        **options: Unpack[Options[Request]],
    ) -> None:
        self._app, self._on_denied = app, on_denied
        self._limiter = Limiter(redis) if isinstance(redis, str) else redis
        self._admission = Admission(limits, prefix=self._limiter.settings.prefix, **options)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        handling = environ[HANDLING] = Handling(self._admission, Request(environ))
        denial = run(self._limiter, handling.begin())
        ruling = handling.ruling
        if ruling is None:
            return self._app(environ, start_response)
        environ[DECISION] = ruling.decision
        if denial:
            return self._deny(denial, environ, start_response)
        if ruling.may_refund:
            return _Held(self._limiter, handling, start_response).begin(self._app, environ)
        return self._app(environ, _adding(ruling.headers, start_response))

    def _deny(self, denial: Denial, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._on_denied is not None:
            return self._on_denied(Request(environ), denial)(environ, _adding(headers_of(denial), start_response))
        headers = [*denial.headers.items(), ("Content-Length", str(len(denial.body)))]
        start_response(f"{denial.status} {HTTPStatus(denial.status).phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [denial.body]


def decision_of(environ: WSGIEnvironment) -> Decision | None:
    """The decision on the request. None if no limit applies to it."""
    found: Decision | None = environ.get(DECISION)
    return found


def peer_of(environ: WSGIEnvironment) -> str:
    """Empty on a Unix socket, for which some servers write a name instead of an address."""
    return canonical(environ.get("REMOTE_ADDR") or "") or ""


def forwarded_for(environ: WSGIEnvironment) -> str:
    """Servers join repeated headers by commas."""
    found: str = environ.get("HTTP_X_FORWARDED_FOR", "")
    return found


def replaced(headers: Headers, ours: Mapping[str, str]) -> Headers:
    """The headers of the application, with those of the same names replaced by ours."""
    names = {name.lower() for name in ours}
    return [header for header in headers if header[0].lower() not in names] + list(ours.items())


def _adding(ours: Mapping[str, str], start_response: StartResponse) -> StartResponse:
    def start(status: str, headers: Headers, exc_info: Any = None, /) -> Write:
        return start_response(status, replaced(headers, ours), exc_info)

    return start


class _Held:
    """A response whose status and headers are held until its first bytes, or its end."""

    def __init__(self, limiter: Limiter, handling: Handling[Request], start_response: StartResponse) -> None:
        self._limiter, self._handling, self._start_response = limiter, handling, start_response
        # What the application passed to start_response.
        self._head: tuple[str, Headers, Any] | None = None
        self._write: Write | None = None
        self._body: Iterable[bytes] = ()
        self._parts: Iterator[bytes] = iter(())

    def begin(self, app: WSGIApplication, environ: WSGIEnvironment) -> "_Held":
        with self._refunding():
            self._body = app(environ, self._hold)
            self._parts = iter(self._body)
        return self

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._write is not None:
            return next(self._parts)
        with self._refunding():
            # Servers refuse any part before the head, even an empty one.
            part = next(filter(None, self._parts), None)
        self._send_head()
        if part is None:
            raise StopIteration
        return part

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            close()

    def _hold(self, status: str, headers: Headers, exc_info: Any = None, /) -> Write:
        if self._write is not None:
            # The server raises, as the head cannot be replaced any more.
            return self._start_response(status, headers, exc_info)
        if self._head is not None and exc_info is None:
            raise AssertionError("start_response must be called once, except with exc_info")
        self._head = status, headers, exc_info
        return self._write_part

    def _write_part(self, data: bytes) -> None:
        self._send_head()
        cast("Write", self._write)(data)

    def _send_head(self) -> None:
        if self._write is None and self._head is not None:
            status, headers, exc_info = self._head
            ours = run(self._limiter, self._handling.settle(int(status[:3]), headers))
            self._write = self._start_response(status, replaced(headers, ours), exc_info)

    @contextmanager
    def _refunding(self) -> Iterator[None]:
        """Gives back what a failed request does not owe, unless its head was sent."""
        try:
            yield
        except Exception:
            if self._write is None:
                run(self._limiter, self._handling.settle(HTTPStatus.INTERNAL_SERVER_ERROR))
            raise
