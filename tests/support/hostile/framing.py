"""How bodies are framed, heads that no server may accept, and random damage to bytes.

The rejected heads follow the published desync attacks: two framings at once, framings that one parser reads and another ignores, lines
that end in other ways, and other protocols. Each is followed by a hidden request, which a server that reads the framing otherwise answers.
"""

from random import Random

from support.hostile.expected import Kind
from support.hostile.heads import HEAD_LIMIT, Draft
from support.hostile.scene import GOOD, SMUGGLED

HIDDEN = b"GET /authorize/hidden HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + GOOD[0].encode() + b"\r\n\r\n"
# After a request that is rejected in any case. Its key shows if it is served.
_SMUGGLED = HIDDEN.replace(GOOD[0].encode(), SMUGGLED.encode())

_EXTENSIONS = (b"", b"", b"", b";a", b";a=b", b';a="b;c"', b";" + b"x" * 5000)
_TRAILERS = (
    *(b"X-Sum: 1", b"X-Forwarded-For: 1.2.3.4", b"X-Original-URI: /health", b"Authorization: Bearer " + GOOD[1].encode()),
    b"Host: evil.test",
)


def with_body(rng: Random, draft: Draft, body: bytes) -> None:
    if draft.method in (b"GET", b"HEAD", b"OPTIONS"):
        draft.method = b"POST"
    if rng.random() < 0.6:
        draft.lines.append(
            rng.choice((b"Content-Length: %d", b"content-length:%d", b"Content-Length: 0%d", b"Content-Length:\t%d")) % len(body)
        )
        draft.framed = body
    else:
        draft.lines.append(rng.choice((b"Transfer-Encoding: chunked", b"transfer-encoding:chunked", b"Transfer-Encoding: CHUNKED")))
        draft.framed = chunked(rng, body)


def random_body(rng: Random, draft: Draft) -> None:
    body = rng.choice((b"", HIDDEN, b"0\r\n\r\n" + HIDDEN, b"\r\n" * 20, b"\x00" * 50, rng.randbytes(rng.choice((1, 100, 3000)))))
    with_body(rng, draft, body)


def chunked(rng: Random, body: bytes) -> bytes:
    """In chunks of random sizes, with extensions and trailers."""
    parts, at = [], 0
    while at < len(body):
        size = rng.choice((1, 2, 7, 16, 100, 4096, len(body)))
        chunk = body[at : at + size]
        parts.append(rng.choice((b"%x", b"%X", b"000%x")) % len(chunk) + rng.choice(_EXTENSIONS) + b"\r\n" + chunk + b"\r\n")
        at += size
        if len(parts) > 50:
            parts.append(b"%x\r\n%b\r\n" % (len(body) - at, body[at:]) if at < len(body) else b"")
            break
    trailers = b"".join(line + b"\r\n" for line in rng.sample(_TRAILERS, rng.choice((0, 0, 0, 1, 3))))
    return b"".join([*parts, rng.choice((b"0", b"000")), rng.choice(_EXTENSIONS[:6]), b"\r\n", trailers, b"\r\n"])


# Lines which make a POST with the body `0\r\n\r\n` + _SMUGGLED ambiguous.
_AMBIGUOUS = (
    *((b"Content-Length: 5", b"Transfer-Encoding: chunked"), (b"Transfer-Encoding: chunked", b"Content-Length: 5")),
    *((b"Content-Length: 5", b"Content-Length: 6"), (b"Content-Length: 5", b"Content-Length: 5"), (b"Content-Length: 5, 5",)),
    *((b"Content-Length: 5,6",), (b"Content-Length: +5",), (b"Content-Length: -1",), (b"Content-Length: 0x5",)),
    *((b"Content-Length: 5 5",), (b"Content-Length:",), (b"Content-Length: 1e1",), (b"Content-Length: 5.0",)),
    *((b"Content-Length: " + b"9" * 30,), (b"Content-Length: 18446744073709551617",), (b"Content-Length : 5",)),
    *((b"Content-Length\t: 5",), (b" Content-Length: 5",), (b"\tContent-Length: 5",), (b"Content-Length\x00: 5",)),
    *((b"Transfer-Encoding : chunked",), (b" Transfer-Encoding: chunked",), (b"Transfer-Encoding\t:chunked",)),
    *((b"Transfer-Encoding\x0b: chunked",), (b"Transfer-Encoding: chunked, identity",), (b"Transfer-Encoding: identity",)),
    *((b"Transfer-Encoding: xchunked",), (b"Transfer-Encoding: chunkedx",), (b"Transfer-Encoding: \x0bchunked",)),
    *((b"Transfer-Encoding: chunked\x00",), (b'Transfer-Encoding: "chunked"',), (b"Transfer-Encoding: chun ked",)),
    *((b"Transfer-Encoding:\r\n chunked",), (b"X-A: b\r\n Transfer-Encoding: chunked",), (b"X-A: b\rTransfer-Encoding: chunked",)),
    *((b"X-A: b\nTransfer-Encoding: chunked",), (b"X-A: b\x00",), (b"X-A\x00: b",), (b"X A: b",), (b"X-A",), (b": b",), (b"X\xff: b",)),
    *((b"(x): b",), (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity")),
    (b"Transfer-Encoding: chunked", b"transfer-encoding : x"),
)
_CHUNKS = (
    *(b"0x5\r\nabcde\r\n0\r\n\r\n", b"+5\r\nabcde\r\n0\r\n\r\n", b"-5\r\nabcde\r\n0\r\n\r\n", b"5 \r\nabcde\r\n0\r\n\r\n"),
    *(b" 5\r\nabcde\r\n0\r\n\r\n", b"5\nabcde\n0\n\n", b"5\r\nabcdef\r\n0\r\n\r\n", b"\r\nabcde\r\n0\r\n\r\n"),
    *(b"fffffffffffffffff5\r\nabcde\r\n0\r\n\r\n", b"5;a\nb\r\nabcde\r\n0\r\n\r\n", b"5\rabcde\r\n0\r\n\r\n", b"5\r\nabcde0\r\n\r\n"),
    *(b"5\r\nabcde\n\n0\r\n\r\n", b"g\r\n", b"5_0\r\n", b"5;\x00\r\nabcde\r\n0\r\n\r\n", b"5;\xff=1\r\nabcde\r\n0\r\n\r\n"),
    *(b"0\r\nX : y\r\n\r\n", b"0\r\nContent-Length: 5\r\n\r\n", b"0\r\n X: y\r\n\r\n", b"0\r\nX\r\n\r\n", b"\x00\r\n"),
)
_STARTS = (
    *(b"GET /authorize HTTP/1.1 \r\n", b"GET\t/authorize HTTP/1.1\r\n", b"GET /authorize\tHTTP/1.1\r\n", b"get /authorize HTTP/1.1\r\n"),
    *(b"GET /authorize http/1.1\r\n", b"GET /authorize HTTP/1.1x\r\n", b"GET /authorize HTTP/1.\r\n", b"GET /authorize HTTP/11\r\n"),
    *(b"GET /authorize HTTP/1.2\r\n", b"GET /authorize HTTP/3\r\n", b"GET /authorize HTTP/1,1\r\n", b"GET /authorize ICE/1.0\r\n"),
    *(b"GET\r\n", b"/authorize HTTP/1.1\r\n", b"GET /authorize HTTP/1.1\r\r\n", b"GET /authorize HTTP/1.1\r"),
    *(b"GET /auth\x00orize HTTP/1.1\r\n", b"GET /auth orize HTTP/1.1\r\n", b"GET /auth\xfforize HTTP/1.1\r\n"),
    *(b"GE\x00T /authorize HTTP/1.1\r\n", b"FOO /authorize HTTP/1.1\r\n", b"CONNECT api.test:443 HTTP/1.1\r\n"),
    *(b"CONNECT /authorize HTTP/1.1\r\n", b"\x00", b" \r\n"),
)
_OTHER_LINES = (
    *(b"GET  /authorize HTTP/1.1\r\n", b"GET /authorize HTTP/0.9\r\n", b"GET /authorize HTTP/2.0\r\n", b"GET /authorize\r\n"),
    *(b"GET /authorize RTSP/1.0\r\n", b"SOURCE /authorize ICE/1.0\r\n"),
)
_OTHER_PROTOCOLS = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    *(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200, b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n", b"SSH-2.0-x\r\n"),
    *(b"PROXY TCP4 1.2.3.4 127.0.0.1 1 2\r\n" + _SMUGGLED, b"EHLO x\r\n", b"\r\n\r\n\r\n\x00", b"\r\n" * 5 + b"X"),
    *(b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a" + _SMUGGLED, b"HTTP/1.1 200 OK\r\n\r\n", b"{}", b"\xff" * 100),
)
_HOST = b"Host: 127.0.0.1\r\n"
_KEY = b"Authorization: Bearer " + GOOD[2].encode() + b"\r\n"
_POST = b"POST /authorize/front HTTP/1.1\r\n" + _HOST + _KEY


def rejected(rng: Random, _: Draft) -> bytes:
    match rng.randrange(6):
        case 0 | 1 | 2:
            return _POST + b"".join(line + b"\r\n" for line in rng.choice(_AMBIGUOUS)) + b"\r\n0\r\n\r\n" + _SMUGGLED
        case 3 | 4:
            return rng.choice(_STARTS) + _HOST + _KEY + b"\r\n" + _SMUGGLED
        case _:
            return rng.choice(_OTHER_PROTOCOLS)


def rejected_body(rng: Random, _: Draft) -> bytes:
    return _POST + b"Transfer-Encoding: chunked\r\n\r\n" + rng.choice(_CHUNKS) + _SMUGGLED


def other_line(rng: Random, _: Draft) -> bytes:
    return rng.choice(_OTHER_LINES) + _HOST + _KEY + b"\r\n" + HIDDEN


def upgrade(rng: Random, draft: Draft) -> bytes:
    """Offers another protocol. With a body, nobody can say where the next request begins."""
    offer = rng.choice((b"websocket", b"h2c", b"TLS/1.0", b"h2c, websocket", b"\xff", b""))
    draft.lines += [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + offer, b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"]
    if rng.random() < 0.5:
        random_body(rng, draft)
    return draft.wire + HIDDEN


_STRUCTURE = (
    *(b"\r", b"\n", b"\r\n", b"\x00", b" ", b"\t", b":", b"\x0b", b"\x0c", b"\x85", b"\xa0", b"\x7f", b"\xff", b";", b",", b"\r\n\r\n"),
    *(b"0", b"-"),
)


def damaged(rng: Random, draft: Draft) -> bytes:
    """Random damage to valid bytes, mostly where one part of the request ends and the next begins."""
    wire = bytearray(draft.wire)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 10))):
        edges = [at for at in range(min(len(wire), 600)) if wire[at] in b"\r\n: /,;"] or [0]
        at = rng.choice(edges) + rng.randrange(2) if rng.random() < 0.7 else rng.randrange(len(wire) + 1)
        match rng.randrange(6):
            case 0:
                wire[at:at] = rng.choice(_STRUCTURE)
            case 1:
                wire[at : at + 1] = rng.choice(_STRUCTURE)
            case 2:
                del wire[at : at + rng.choice((1, 2, 5, 30))]
            case 3:
                wire[at:at] = rng.randbytes(rng.choice((1, 2, 8)))
            case 4:
                wire[at : at + 1] = bytes([wire[at % len(wire)] ^ 1 << rng.randrange(8)])
            case 5:
                wire[at:at] = wire[rng.randrange(len(wire)) :][: rng.choice((1, 10, 80))]
        wire = wire or bytearray(b"\x00")
    return bytes(wire)


def damaged_lines(rng: Random, draft: Draft) -> bytes:
    """Lines swapped, repeated, folded, without a colon, or ended otherwise."""
    lines = draft.wire.split(b"\r\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        match rng.randrange(7):
            case 0:
                lines[at], lines[other] = lines[other], lines[at]
            case 1:
                lines.insert(at, lines[other])
            case 2:
                lines[at] = rng.choice((b" ", b"\t", b"\x0b")) + lines[at]
            case 3:
                lines[at] = lines[at].replace(b": ", rng.choice((b" : ", b":", b"", b"\x00: ", b"::")), 1)
            case 4:
                lines[at] = lines[at].replace(b"-", b"_")
            case 5:
                lines[at] = lines[at].swapcase()
            case 6:
                lines[at] += b"x" * rng.choice((1, 5000, HEAD_LIMIT))
    return rng.choice((b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\n\r", b"\r\r\n")).join(lines)


def endless(rng: Random, draft: Draft) -> bytes:
    """A head, a length or a chunk that never ends."""
    head = draft.wire[:-2] if not draft.framed else draft.wire.partition(b"\r\n\r\n")[0] + b"\r\n"
    return rng.choice(
        (
            head,
            head + b"X-Large: " + b"x" * (2 * HEAD_LIMIT),
            b"".join([head, *(b"X-%d: y\r\n" % n for n in range(12_000))]),
            head[: rng.randrange(1, len(head))],
            b"GET /" + b"a" * (2 * HEAD_LIMIT),
            head + b"Content-Length: 9223372036854775807\r\n\r\n" + b"x" * 1000,
            b"POST /v1/take HTTP/1.1\r\n"
            + _HOST
            + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n"
            + b" " * 300_000,
            b"POST /x HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-Trailer: y\r\n" * 8000,
            b"POST /x HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * (2 * HEAD_LIMIT),
        )
    )


# Kind, function, weight.
DAMAGE = (
    *((Kind.REJECTED, rejected, 3), (Kind.REJECTED_BODY, rejected_body, 2), (Kind.OTHER_LINE, other_line, 1), (Kind.BROKEN, upgrade, 2)),
    *((Kind.BROKEN, damaged, 6), (Kind.BROKEN, damaged_lines, 4), (Kind.BROKEN, endless, 2)),
)
