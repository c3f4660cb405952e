"""Cross-origin requests of browsers (the Fetch standard's CORS protocol): who may call is in `cors` of the configuration.

A preflight has no API key. The proxy answers it by itself, from memory, so it never reaches upstream. A gateway that asks `/authorize`
needs 200 to pass it on, so there it is charged to its address, under a policy of its own. Every other OPTIONS request needs a key.

An origin is compared byte for byte with the configured ones, and never reflected. A page can forge none; a program can forge any, but
CORS protects the users of browsers and not the API.
"""

from collections.abc import Iterable, Mapping, Sequence

from starlette.types import Message, Send

from limiter.api.answers import Answer, Header, head_of
from limiter.policy import Policy

ANY = "*"
# The headers of our answers that a script cannot read unless they are exposed.
EXPOSED = (
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-RateLimit-Degraded",
    "X-RateLimit-Status",
    "Retry-After-Ms",
    "X-Should-Retry",
    "WWW-Authenticate",
)

ORIGIN, REQUEST_METHOD = b"origin", b"access-control-request-method"
CORS_HEADERS = frozenset({ORIGIN, REQUEST_METHOD})
_ALLOW_ORIGIN, _EXPOSE = b"access-control-allow-origin", b"access-control-expose-headers"
_CREDENTIALS: Header = (b"access-control-allow-credentials", b"true")
_VARY: Header = (b"vary", b"Origin")
_VARYING = head_of([_VARY])
# With one of these, a request is judged by its key.
_KEYS = frozenset({b"authorization", b"x-api-key"})

Headers = Iterable[Header]


class Cors:
    """`guard` is the policy of preflights that a gateway asks about, by address. `max_age` is in seconds."""

    def __init__(
        self,
        origins: Sequence[str],
        guard: Policy,
        *,
        methods: Sequence[str],
        headers: Sequence[str],
        expose: Sequence[str] = (),
        credentials: bool = False,
        max_age: int,
    ) -> None:
        self.guard = guard
        self._is_for_any = ANY in origins
        self._exposed = ", ".join(dict.fromkeys((*EXPOSED, *expose))).encode()
        self._granted = {origin.encode(): self._grant(origin.encode(), credentials=credentials) for origin in origins}
        self._lines = {origin: head_of([*granted, self._exposing, *self._varying]) for origin, granted in self._granted.items()}
        stated = [
            (b"access-control-allow-methods", ", ".join(methods).encode()),
            (b"access-control-allow-headers", ", ".join(headers).encode()),
            (b"access-control-max-age", b"%d" % max_age),
        ]
        self._preflights = {origin: Answer(200, head_of([*granted, *stated, *self._varying])) for origin, granted in self._granted.items()}

    def is_preflight(self, method: str, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a browser asks on behalf of a page that may call. Repeated headers are joined, so two origins are none."""
        return (
            method == "OPTIONS"
            and ORIGIN in headers
            and headers.get(REQUEST_METHOD, b"") != b""
            and self._known(headers[ORIGIN]) is not None
        )

    def preflight(self, method: str, headers: Headers) -> Answer | None:
        """The answer to a preflight. None for every other request."""
        if method != "OPTIONS":
            return None
        found: dict[bytes, bytes] = {}
        for name, value in headers:
            found[name] = found[name] + b", " + value if name in found else value
        if not _KEYS.isdisjoint(found) or not self.is_preflight(method, found):
            return None
        return self._preflights.get(self._known(found[ORIGIN]) or b"")

    def readable(self, headers: Headers, answer: Answer) -> Answer:
        """Our own answer to a request with these headers, so that a page that may call can read it."""
        known = self._known(_origin_in(headers))
        return Answer(answer.status, answer.head + (_VARYING if known is None else self._lines[known]), answer.body)

    def passing(self, headers: Headers, send: Send) -> Send:
        """Sends upstream's response to a request with these headers, so that a page that may call can read it and its numbers."""
        known = self._known(_origin_in(headers))

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._merged(known, message["headers"])}
            await send(message)

        return sending

    def _merged(self, known: bytes | None, headers: Sequence[Header]) -> list[Header]:
        """What upstream says about its own CORS stands. Only the names of our headers are added to it."""
        if known is None:
            return [*headers, *self._varying]
        names = {name.lower() for name, _ in headers}
        granted = () if _ALLOW_ORIGIN in names else self._granted[known]
        exposed = b", ".join([value for name, value in headers if name.lower() == _EXPOSE] + [self._exposed])
        kept = [header for header in headers if header[0].lower() != _EXPOSE]
        return [*kept, *granted, (_EXPOSE, exposed), *self._varying]

    def _known(self, origin: bytes | None) -> bytes | None:
        """The configured origin that this one is, if any."""
        return b"*" if self._is_for_any else origin if origin in self._granted else None

    def _grant(self, origin: bytes, *, credentials: bool) -> list[Header]:
        return [(_ALLOW_ORIGIN, origin), *([_CREDENTIALS] if credentials else [])]

    @property
    def _exposing(self) -> Header:
        return _EXPOSE, self._exposed

    @property
    def _varying(self) -> list[Header]:
        """A cache must not answer one origin with what another one got."""
        return [] if self._is_for_any else [_VARY]


def _origin_in(headers: Headers) -> bytes | None:
    values = [value for name, value in headers if name == ORIGIN]
    return b", ".join(values) if values else None
