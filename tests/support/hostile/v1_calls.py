"""Calls of the decision API: from every sort of caller, with bodies that are valid, mutated, or hardly JSON."""

from random import Random

from support.hostile import framing, json_bodies
from support.hostile.expected import Kind
from support.hostile.heads import ADDRESSES, Draft
from support.hostile.scene import V1_TOKEN

# Names that no site can make lead elsewhere, and others.
_OWN_HOSTS = (b"127.0.0.1", b"localhost", b"localhost:8080", b"LOCALHOST.", b"a.localhost", b"[::1]", b"[::1]:8080", b"10.1.2.3:1")
OTHER_HOSTS = (
    *(b"api.test", b"evil.test:8080", b"localhost.evil.test", b"localhost@evil.test", b"127.0.0.1.evil.test", b"127.1", b"0x7f.1"),
    *(b"[::1", b"::1]:80", b"localhost:80:80", b"localhost, evil.test", b"xn--lcalhost-54a", b"", b"\xff", b"a" * 300),
)
_ORIGINS = (b"https://evil.test", b"http://127.0.0.1", b"http://localhost:8080", b"null", b"", b"\xff")
_TOKEN = b"Authorization: Bearer " + V1_TOKEN.encode()
_WRONG_TOKENS: tuple[list[bytes], ...] = (
    *([], [b"Authorization: Bearer x"], [b"Authorization: Bearer"], [b"Authorization:"], [_TOKEN, _TOKEN], [_TOKEN + b"x"], [_TOKEN[:-1]]),
    *([_TOKEN + b", Bearer x"], [b"Authorization: Basic " + V1_TOKEN.encode()], [b"Authorization: " + V1_TOKEN.encode()]),
    *([b"Authorization: Bearer " + V1_TOKEN.swapcase().encode()], [b"X-API-Key: " + V1_TOKEN.encode()], [_TOKEN, b"authorization: x"]),
    *([b"Cookie: token=" + V1_TOKEN.encode()], [b"Authorization: Bearer \xff"], [b"Authorization: Bearer\t" + V1_TOKEN.encode()]),
    [b"Authorization: Bearer " + b"x" * 50_000],
)
_WRONG_PATHS = (b"/v1", b"/v1/", b"/v1/take/", b"/v1/Take", b"/v1/reset", b"/v1/../authorize", b"/v1/%74ake", b"/v1//take")
_WRONG_TYPES = (b"", b"text/plain", b"application/jsonx", b"\xff", b"multipart/form-data")


def call(rng: Random) -> Draft:
    verb = rng.choice((b"take", b"peek", b"refund"))
    lines = [b"Host: " + rng.choice(_OWN_HOSTS), b"Content-Type: application/json", _TOKEN]
    draft, is_refund = Draft(Kind.V1, b"POST", b"/v1/" + verb, lines), verb == b"refund"
    body = json_bodies.json.dumps(json_bodies.call(rng, refund=is_refund)).encode()
    match rng.randrange(24):
        case 0 | 1 | 2 | 3:
            pass
        case 4 | 5 | 6 | 7:
            _caller(rng, draft)
        case 8 | 9:
            body = _wrong(rng, draft, body)
        case _:
            draft.kind, body = Kind.V1_MUTATED, json_bodies.mutated_call(rng, refund=is_refund)
    framing.with_body(rng, draft, body)
    return draft


def _caller(rng: Random, draft: Draft) -> None:
    """A valid call from somebody who may have no permission."""
    match rng.randrange(5):
        case 0 | 1:
            draft.kind = Kind.V1_NO_TOKEN
            draft.lines[2:] = rng.choice(_WRONG_TOKENS)
        case 2:
            draft.kind, draft.lines[0] = Kind.V1_OTHER_HOST, b"Host: " + rng.choice(OTHER_HOSTS)
        case 3:
            draft.kind = Kind.V1_PAGE
            draft.lines.append(b"Origin: " + rng.choice(_ORIGINS))
        case 4:
            draft.kind = Kind.V1_FORWARDED
            name = rng.choice((b"X-Forwarded-For", b"X-Real-IP", b"Forwarded"))
            draft.lines.append(name + b": " + ", ".join(rng.choices(ADDRESSES, k=2)).encode("latin-1"))


def _wrong(rng: Random, draft: Draft, body: bytes) -> bytes:
    draft.kind = Kind.V1_WRONG
    match rng.randrange(3):
        case 0:
            draft.method = rng.choice((b"PUT", b"DELETE", b"PATCH"))
        case 1:
            draft.target = rng.choice(_WRONG_PATHS)
        case 2:
            draft.lines[1] = b"Content-Type: " + rng.choice(_WRONG_TYPES)
    # Few, as each is large.
    return b" " * 1_048_577 if rng.random() < 0.03 else body
