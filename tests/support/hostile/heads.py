"""Heads that are well-formed HTTP and hostile in meaning: paths, credentials, forward headers, sizes."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from limiter.api.registry import KeyFormat
from support.hostile.expected import Kind
from support.hostile.scene import CAPPED, GOOD, REFUSED, SECRET

METHODS = (b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"HEAD")
ODD_METHODS = (b"TRACE", b"PROPFIND", b"PURGE", b"SEARCH", b"M-SEARCH", b"LINK", b"REPORT", b"SUBSCRIBE")

PLAIN_PATHS = (
    *(b"/", b"/a", b"/asset/1", b"/files", b"/public/x", b"/very/deep/path/of/segments", b"/a.b-c_d~e", b"/list?page=2&q=a%20b", b"/x?"),
)

# Pieces of which odd paths are made.
PIECES = (
    *(b"/", b"//", b"/.", b"/..", b"/../..", b"\\", b"%2f", b"%2F", b"%5c", b"%2e%2e", b"%252e", b"%25", b"%", b"%g1", b"%00", b"%0d%0a"),
    *(b"%0D%0AX-A:%20b", b"%c0%af", b"%e0%80%af", b"%ff", b"%ed%a0%80", b"%EF%BC%8F", b"%E2%80%AE", b"e%CC%81", b"%C3%A9", b";x=1", b";"),
    *(b"?", b"?a=/../convert", b"#", b"#/../files/1", b"convert", b"files", b"health", b"public", b"CONVERT", b"c%6fnvert", b"1", b"*"),
    *(b"**", b"{id}", b":", b"@", b"'", b'"', b"<", b">", b"|", b"^", b"`", b"[", b"]", b"~", b"!", b"$&", b"(),", b"=", b"+"),
    *(b"authorize", b"v1/take"),
)
ODD_TARGETS = (
    *(b"*", b"//evil.test/convert/x", b"/\\evil.test/convert/x", b"///", b"/authorize%2fx", b"/authorize/../v1/take", b"/AUTHORIZE"),
    *(b"/authorize;x", b"http://api.test/authorize", b"http://other.test/authorize", b"HTTP://API.TEST/authorize/a"),
    *(b"http://user@api.test/authorize", b"http://api.test", b"http://api.test?x", b"https://api.test/authorize", b"ftp://api.test/x"),
    *(b"http:///authorize", b"http://[::1]/authorize", b"http://api.test:80/authorize", b"http://api.test:99999/x", b"a:b"),
    *(b"api.test:80", b"?x", b"/?", b"/??", b"/%"),
)

# Address forms that parsers disagree about.
ADDRESSES = (
    *("203.0.113.7", "203.0.113.7:4711", "[2001:db8::7]", "[2001:db8::7]:443", "2001:db8::7", "::1", "127.0.0.1", "127.1", "0177.0.0.1"),
    *("0x7f.1", "2130706433", "127.0.0.01", "::ffff:1.2.3.4", "::ffff:0:1.2.3.4", "64:ff9b::1.2.3.4", "::ffff:127.0.0.1", "fe80::1%eth0"),
    *("fe80::1%25lo", "fe80::1%" + "z" * 300, "[::1", "::1]", "[]", "[", "]", "1.2.3.4.5", "1.2.3", "999.1.1.1", "1.2.3.4/24"),
    *("localhost", "unknown", "_hidden", "", " ", ",", ",,,", "1.2.3.4 5.6.7.8", "1.2.3.4;5.6.7.8", '"1.2.3.4"', "1\xb2.2.3.4"),
    *("\xd9\xa1.2.3.4", "10.0.0.1%0d%0a", "1.2.3.4\t", ":" * 40, "::", "0::0::0", "a" * 65, "1" * 5000, "{x}:y", "-1.2.3.4", "+1.2.3.4"),
    *("1.2.3.4:", "1.2.3.4:99999", "[::1]:x", "for=1.2.3.4"),
)
URIS = (
    *(b"/", b"/convert/x", b"/health", b"/files/1/2?x=y", b"", b" ", b"health", b"//health", b"/health/../convert/x", b"http://a/health"),
    *(b"*", b"/" + b"a" * 9000),
)
FORWARD = (
    *(b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Forwarded-Method", b"X-Forwarded-Uri", b"X-Forwarded-Port"),
    *(b"X-Original-URI", b"X-Original-Method", b"X-Original-URL", b"X-Rewrite-URL", b"X-Real-IP", b"Forwarded", b"Via"),
    *(b"CF-Connecting-IP", b"X_Forwarded_For", b"X-Forwarded_For", b"x-forwarded-for", b"X-Envoy-Original-Path"),
    *(b"X-Envoy-External-Address", b"X-HTTP-Method-Override", b"True-Client-IP", b"X-Client-IP", b"X-Forwarded-Server"),
    *(b"X-Forwarded-Prefix", b"Client-IP", b"X-ProxyUser-Ip", b"Content-Location"),
)
METHOD_NAMES = (b"GET", b"POST", b"get", b" POST ", b"", b"G\xc3\x89T", b"GET, POST", b"\xff" * 40, b"A" * 9000, b"CONNECT")
BENIGN = (
    *(b"Accept: */*", b"Accept-Encoding: gzip, br", b"Cookie: a=b; c=d", b"Cache-Control: no-cache", b"If-None-Match: *"),
    *(b"Range: bytes=0-", b"DNT: 1", b"Connection: keep-alive", b"Connection: Authorization", b"Connection: x-forwarded-for, host"),
    *(b"TE: trailers", b"Keep-Alive: timeout=5, max=1", b"X-Empty:", b"X-Blank: \t ", b"X-Text: \xe9\xff\x80", b'X-Quoted: "a\\"b"'),
    *(b"Proxy-Connection: close-not", b"Proxy-Authorization: Basic eA==", b"X-RateLimit-Limit: 0", b'RateLimit: "minute";r=9999;t=0'),
    *(b"Retry-After: 0", b"Max-Forwards: 0", b"Sec-Fetch-Mode: cors", b"X-Sub: {a}:b*?[x]"),
)

HEAD_LIMIT = 64 * 1024

# As issued by the registry, and unknown to it: the checksum is right, so each is looked up. Only these differ from run to run.
WELL_FORMED = [KeyFormat("ff").generate() for _ in range(50)]


@dataclass
class Draft:
    """A request to be. `framed` is its body as it is sent."""

    kind: Kind
    method: bytes
    target: bytes
    lines: list[bytes]
    framed: bytes = b""
    version: bytes = b"HTTP/1.1"

    @property
    def wire(self) -> bytes:
        return b"\r\n".join([self.method + b" " + self.target + b" " + self.version, *self.lines, b"", b""]) + self.framed


Twist = Callable[[Random, Draft], None]


def ordinary(rng: Random, prefix: bytes) -> Draft:
    """A request with a good key, to any path below the prefix."""
    method = METHODS[min(int(rng.expovariate(0.6)), len(METHODS) - 1)]
    lines = [b"Host: api.test", b"Authorization: Bearer " + rng.choice(GOOD).encode()]
    lines += rng.sample(BENIGN, rng.randrange(3))
    return Draft(Kind.GOOD, method, prefix + rng.choice(PLAIN_PATHS), lines)


def exempt(_: Random, draft: Draft) -> None:
    draft.kind, draft.target = Kind.EXEMPT, b"/authorize/health"


def refused(rng: Random, draft: Draft) -> None:
    draft.kind = Kind.REFUSED
    draft.lines[1:2] = [_carried(rng, rng.choice([*REFUSED.values(), *WELL_FORMED, _invented(rng)]).encode())]


def without_key(_: Random, draft: Draft) -> None:
    draft.kind = Kind.CREDENTIAL
    del draft.lines[1]


def capped(_: Random, draft: Draft) -> None:
    draft.kind = Kind.CREDENTIAL
    draft.lines[1] = b"X-API-Key: " + CAPPED.encode()


def odd_credential(rng: Random, draft: Draft) -> None:
    draft.kind = Kind.CREDENTIAL
    good, other = rng.choice(GOOD).encode(), _invented(rng).encode()
    draft.lines[1:2] = rng.choice(
        [
            [b"Authorization: Bearer " + good, b"Authorization: Bearer " + other],
            [b"Authorization: Bearer " + good, b"X-API-Key: " + other],
            [b"Authorization: Basic " + other, b"X-API-Key: " + good],
            [b"X-API-Key: " + good, b"X-API-Key: " + good],
            [b"authorization: bEaReR  " + good + b" "],
            [b"Authorization: Bearer " + good + b", Bearer " + other],
            [b"Authorization: Bearer\t" + good],
            [b"Authorization: Bearer" + good],
            [b"Authorization:"],
            [b"Authorization: Bearer "],
            [b"X-API-Key: "],
            [b"X_API_Key: " + good],
            [b"X-API-Key: " + good.swapcase()],
            [b"X-API-Key: " + good + b"\xa0"],
            [b"X-API-Key: " + good + b"\xc3\xa9"],
            [b'X-API-Key: "' + good + b'"'],
            [b"X-API-Key: " + other + b"*" * rng.choice((400, 512, 5000, 40_000))],
            [b"X-API-Key: " + rng.randbytes(20).translate(_VISIBLE)],
            [b"Authorization: Bearer ff_live_" + SECRET.encode() + b"A" * 24],
            [b"X-API-Key: {" + other + b"}:x"],
        ]
    )


def odd_path(rng: Random, draft: Draft) -> None:
    draft.kind = Kind.ODD_PATH
    pieces = b"".join(rng.choices(PIECES, k=rng.choice((1, 2, 3, 4, 6, 10, 40))))
    draft.target = draft.target.partition(b"?")[0] + pieces


def long_path(rng: Random, draft: Draft) -> None:
    draft.kind = Kind.ODD_PATH
    unit = rng.choice((b"/a", b"//", b"/..", b"/;", b"%2f", b"%2e%2e/", b"a", b"\\..", b"/%25"))
    size = rng.choice((255, 256, 257, 1000, 4000, 8190, 8191, 8192, 8193, 20_000))
    draft.target = (draft.target + unit * (size // len(unit) + 1))[:size]


def odd_target(rng: Random, draft: Draft) -> None:
    draft.kind, draft.target = Kind.ODD_PATH, rng.choice(ODD_TARGETS)


def forwarded(rng: Random, draft: Draft) -> None:
    """One family of headers or several, each with any value, on one line or several."""
    draft.kind = Kind.FORWARDED
    for _ in range(rng.randrange(1, 6)):
        name = rng.choice(FORWARD)
        draft.lines.append(name + b": " + _claim(rng, name.lower()))
    rng.shuffle(draft.lines)


def odd_head(rng: Random, draft: Draft) -> None:
    draft.kind = Kind.ODD_HEAD
    match rng.randrange(7):
        case 0:
            draft.lines += [b"X-%d: %d" % (n, n) for n in range(rng.choice((50, 300, 1000)))]
        case 1:
            draft.lines.append(b"X-Large: ")
            draft.lines[-1] += b"x" * max(0, HEAD_LIMIT - len(draft.wire) + rng.choice((-100, -2, -1, 0, 1, 2, 100, 9000)))
        case 2:
            draft.lines += [rng.choice(draft.lines)] * rng.randrange(1, 40)
        case 3:
            draft.lines.append(bytes(rng.choices(_TOKEN, k=rng.choice((1, 20, 3000)))) + b": " + rng.randbytes(30).translate(_VISIBLE))
        case 4:
            draft.method = rng.choice(ODD_METHODS)
        case 5:
            draft.lines[0] = b"Host: " + rng.choice(
                (b"", b"a b", b"evil.test", b"[::1]:99999", b"a" * 5000, b"\xff", b"api.test, b", b"http://x/")
            )
        case 6:
            draft.lines.append(
                rng.choice((b"Expect: 100-continue", b"Expect: 200-maybe", b"Expect:", b"Connection: close", b"Connection: ,,,close ,x"))
            )


def compound(rng: Random, draft: Draft) -> None:
    for twist in rng.sample((odd_credential, odd_path, forwarded, odd_head, capped, refused), rng.randrange(2, 5)):
        if draft.lines[1:]:
            twist(rng, draft)
    draft.kind = Kind.COMPOUND


# Header values may contain tabs and every byte from 0x20 but 0x7f.
_VISIBLE = bytes(byte if byte == 9 or (byte >= 32 and byte != 127) else 46 for byte in range(256))
_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _carried(rng: Random, key: bytes) -> bytes:
    return rng.choice((b"Authorization: Bearer ", b"X-API-Key: ")) + key


def _invented(rng: Random) -> str:
    return f"{rng.choice(('sk_live_', 'ff_live_', 'ff_test_', '', 'key-'))}{rng.getrandbits(64):x}{SECRET}{rng.getrandbits(32):x}"


def _claim(rng: Random, name: bytes) -> bytes:
    if b"method" in name:
        return rng.choice(METHOD_NAMES)
    if b"ur" in name or b"path" in name:
        return rng.choice(URIS) if rng.random() < 0.7 else b"/" + b"".join(rng.choices(PIECES, k=3))
    if b"proto" in name:
        return rng.choice((b"https", b"http", b"HTTPS", b"https,http", b"wss", b"", b"\xff", b"javascript"))
    if rng.random() < 0.1:
        return b", ".join(b"10.%d.%d.1" % (n >> 8, n & 255) for n in range(rng.choice((30, 900))))
    return ", ".join(rng.choices(ADDRESSES, k=rng.randrange(1, 4))).encode("latin-1")
