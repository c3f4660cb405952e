"""The attack, from one seed: what is sent on each connection, in which pieces, and how the connection ends."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import pairwise
from random import Random

from support.hostile import framing, heads, json_bodies, v1_calls
from support.hostile.expected import ADMIN, AUTHORIZE, BEHIND_A_GATEWAY, FROM_ELSEWHERE, PROXY, Kind
from support.hostile.heads import Draft, Twist
from support.servers.sidecar import TOKEN


class Ending(Enum):
    READ = auto()  # wait for every reply
    HALF_CLOSE = auto()  # no more is sent, and replies are still read
    CUT = auto()  # reset the connection without reading


# Kinds that keep the connection open, and kinds that may end it.
RISKY = {Kind.ODD_PATH, Kind.ODD_HEAD, Kind.COMPOUND, Kind.V1_WRONG}
SETTLED = set(Kind) - RISKY - {Kind.REJECTED, Kind.REJECTED_BODY, Kind.OTHER_LINE, Kind.BROKEN}


@dataclass(frozen=True)
class Shot:
    wire: bytes
    kind: Kind
    method: bytes
    target: bytes = b""


@dataclass(frozen=True)
class Volley:
    """`shots` get a reply each, in order, until a reply closes the connection. `broken` bytes follow them, and may get any number.

    If `waits`, the broken bytes are sent after the replies to the shots.
    """

    number: int
    shots: list[Shot]
    allowed: dict[Kind, set[int]]
    trusted: bool
    ending: Ending = Ending.READ
    broken: Shot | None = None
    waits: bool = False
    cuts: list[int] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return len(self.shots) + (self.broken is not None)

    @property
    def stages(self) -> list[list[bytes]]:
        """What is sent without waiting, in the pieces in which it is sent."""
        shots, broken = b"".join(shot.wire for shot in self.shots), self.broken.wire if self.broken else b""
        return [self._pieces(stage) for stage in ([shots, broken] if self.waits else [shots + broken]) if stage]

    def _pieces(self, whole: bytes) -> list[bytes]:
        edges = [0, *sorted(cut % (len(whole) + 1) for cut in self.cuts), len(whole)]
        return [whole[start:end] for start, end in pairwise(edges) if end > start]


_TWISTS: tuple[tuple[Twist | None, float], ...] = (
    *((None, 3), (heads.refused, 3), (heads.odd_credential, 3), (heads.without_key, 1), (heads.capped, 1), (heads.odd_path, 5)),
    *((heads.long_path, 1), (heads.odd_target, 2), (heads.forwarded, 6), (heads.odd_head, 3), (heads.compound, 3)),
)
_TOKEN = b"Authorization: Bearer " + TOKEN.encode()


class Attack:
    """Volleys against a front (`authorize`, `gateway`, `proxy`) or the `admin` listener.

    A `calm` attack only has requests that each get a reply.
    """

    def __init__(self, seed: int, target: str, *, calm: bool = False) -> None:
        self._rng, self._target, self._calm = Random(f"{target} {seed}"), target, calm  # noqa: S311 - reproducible
        self._allowed = {"authorize": AUTHORIZE, "gateway": BEHIND_A_GATEWAY, "proxy": PROXY, "admin": ADMIN}[target]
        twists = [*_TWISTS, (heads.exempt, 1)] if target == "authorize" else _TWISTS
        self._twists, self._weights = zip(*twists, strict=True)

    def volleys(self, requests: int) -> Iterator[Volley]:
        left, number = requests, 0
        while left > 0:
            volley = self._volley(number)
            left, number = left - volley.requests, number + 1
            yield volley

    def _volley(self, number: int) -> Volley:
        rng = self._rng
        trusted = rng.random() < 0.6
        allowed = FROM_ELSEWHERE if self._target == "gateway" and not trusted else self._allowed
        if self._calm:
            return Volley(number, [self._shot(SETTLED) for _ in range(rng.choice((1, 4, 12, 30)))], allowed, trusted)
        broken = self._broken() if rng.random() < 0.35 else None
        # A request that may end the connection comes last, as the replies to those before it may be lost with it.
        shots = [self._shot(SETTLED) for _ in range(rng.choice((0, 1, 2, 3) if broken else (0, 1, 3, 10, 30)))]
        if broken is None and (not shots or rng.random() < 0.7):
            shots.append(self._shot(RISKY))
        ending = rng.choices((Ending.READ, Ending.HALF_CLOSE, Ending.CUT), (20, 1, 1))[0]
        cuts = [rng.randrange(1 << 20) for _ in range(rng.choice((0, 0, 0, 1, 3, 8)))]
        return Volley(number, shots, allowed, trusted, ending, broken, waits=rng.random() < 0.5, cuts=cuts)

    def _shot(self, kinds: set[Kind]) -> Shot:
        """A request of one of the kinds."""
        while (draft := self._draft()).kind not in kinds:
            pass
        return Shot(draft.wire, draft.kind, draft.method, draft.target)

    def _draft(self) -> Draft:
        if self._target == "admin":
            return self._admin()
        if self._target in ("authorize", "gateway") and self._rng.random() < 0.25:
            return v1_calls.call(self._rng)
        return self._front()

    def _broken(self) -> Shot:
        rng = self._rng
        kind, damage, _ = rng.choices(framing.DAMAGE, [weight for _, _, weight in framing.DAMAGE])[0]
        draft = self._admin() if self._target == "admin" else self._front()
        # Where HEAD might become another method, the end of a reply is not known.
        draft.method = b"GET" if draft.method == b"HEAD" else draft.method
        return Shot(damage(rng, draft), kind, b"")

    def _front(self) -> Draft:
        rng = self._rng
        draft = heads.ordinary(rng, b"/authorize" if self._target == "authorize" else b"")
        if self._target == "authorize" and rng.random() < 0.02:
            draft.kind, draft.target = Kind.NOT_SERVED, rng.choice((b"/", b"/authorizex", b"/v2/take", b"/healthz", b"/metrics", b"/docs"))
            return draft
        twist = rng.choices(self._twists, self._weights)[0]
        if twist is not None:
            twist(rng, draft)
        if draft.kind in RISKY and draft.method == b"HEAD":
            draft.method = b"GET"
        if self._target == "gateway":
            heads.described(rng, draft)
        if rng.random() < 0.15:
            framing.random_body(rng, draft)
        return draft

    def _admin(self) -> Draft:
        rng = self._rng
        account = rng.choice((f"acc{rng.randrange(12)}", "acme", "%00", "..", "a%2Fb", "x" * 300, "%ff", "gen")).encode()
        method, path = rng.choice(_ROUTES)
        lines = [b"Host: 127.0.0.1", _TOKEN, b"Content-Type: application/json"]
        draft = Draft(Kind.ADMIN, method, path.replace(b"{account}", account), lines)
        match rng.randrange(10):
            case 0:
                draft.kind, draft.target, draft.method = (
                    Kind.OPEN_ADMIN,
                    rng.choice((b"/healthz", b"/readyz", b"/docs", b"/docs/x", b"/docs/../keys")),
                    b"GET",
                )
                return draft
            case 1 | 2 if not draft.target.startswith(b"/docs"):
                draft.kind = Kind.NO_TOKEN
                draft.lines[1:2] = rng.choice(_WRONG_TOKENS)
            case 3 if rng.random() < 0.5:
                draft.kind, draft.lines[0] = Kind.ADMIN_OTHER_HOST, b"Host: " + rng.choice(v1_calls.OTHER_HOSTS)
            case 3:
                draft.kind, draft.target = Kind.ODD_PATH, draft.target + b"".join(rng.choices(heads.PIECES, k=3))
        if method != b"GET":
            framing.with_body(rng, draft, json_bodies.for_admin(rng, path.decode().rpartition("/")[2]))
        return draft


_ROUTES = (
    *((b"GET", b"/accounts"), (b"GET", b"/accounts?count=0"), (b"GET", b"/accounts?count=1e9&cursor=%00"), (b"POST", b"/accounts")),
    *((b"GET", b"/audit"), (b"GET", b"/accounts/{account}"), (b"PATCH", b"/accounts/{account}")),
    *((b"DELETE", b"/accounts/{account}?with_keys=x"), (b"GET", b"/audit?cursor=%f0-1"), (b"POST", b"/accounts/{account}/keys")),
    *((b"POST", b"/accounts/{account}/keys/import"), (b"POST", b"/keys/find"), (b"GET", b"/accounts/{account}/keys")),
    *((b"POST", b"/accounts/{account}/keys/x/rotate"), (b"POST", b"/accounts/{account}/keys/%00/revoke")),
    *((b"POST", b"/accounts/{account}/suspend"), (b"GET", b"/usage?policy=bulk&subject=a%00b")),
    *((b"GET", b"/usage?policy=bulk&subject=%7B"), (b"GET", b"/usage?policy=nope&subject=%ed%a0%80")),
    *((b"POST", b"/reset?policy=five&subject=%F0%9F%98%80&account=%FF"), (b"GET", b"/policies"), (b"GET", b"/config")),
    *((b"GET", b"/openapi.json"), (b"GET", b"/usage?policy=five&subject=" + b"a" * 60_000), (b"GET", b"/front/openapi.json")),
    *((b"GET", b"/docs/swagger-ui/..%2f..%2fadmin.py"), (b"GET", b"/nope")),
)
_WRONG_TOKENS: tuple[list[bytes], ...] = (
    *([], [b"Authorization: Bearer x"], [b"Authorization: Bearer " + TOKEN.upper().encode()]),
    *([b"Authorization: Basic " + TOKEN.encode()], [b"Authorization: Bearer"], [b"Authorization: Bearer \xff"], [_TOKEN, _TOKEN]),
    *([b"X-API-Key: " + TOKEN.encode()], [_TOKEN + b"x"], [b"Authorization: Bearer " + b"x" * 4000]),
    *([b"Authorization: Bearer " + TOKEN.encode()[:-1]], [_TOKEN + b",x"], [b"Cookie: token=" + TOKEN.encode()]),
)
