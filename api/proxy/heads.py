"""What the heads of requests and responses have in common (RFC 9110 §7.6, RFC 9112 §6). Pure functions."""

from collections.abc import Iterable

Header = tuple[bytes, bytes]
Values = dict[bytes, list[bytes]]

MAX_HEAD = 64 * 1024  # bytes of a request's or response's head, as `head_size` counts them
MAX_HEADERS = 256  # of a request: one with many short headers takes 25 times its size in memory
HTTP_VERSIONS = frozenset({"1.0", "1.1"})
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)


def head_size(headers: Iterable[Header]) -> int:
    """The size of these headers in a head, each with its colon, space and line ending."""
    return sum(len(name) + len(value) + 4 for name, value in headers)


def partition(
    headers: Iterable[Header], special: frozenset[bytes], required: frozenset[bytes] = frozenset()
) -> tuple[Values, list[Header]]:
    """Separates the headers that mean something to a proxy from those that it passes on unchanged.

    A Connection header removes those that it names, except the `required` ones.
    """
    found: Values = {}
    kept: list[Header] = []
    for header in headers:
        if header[0] in special:
            found.setdefault(header[0], []).append(header[1])
        else:
            kept.append(header)
    if b"connection" in found:
        nominated = options_of(found[b"connection"]) - required
        kept = [header for header in kept if header[0] not in nominated]
    return found, kept


def options_of(values: Iterable[bytes]) -> set[bytes]:
    """The members of a comma-separated header, in lower case."""
    return {option.strip(b" \t").lower() for value in values for option in value.split(b",")}


def is_chunked(codings: list[bytes]) -> bool:
    """Whether `chunked` is the only transfer coding."""
    return len(codings) == 1 and codings[0].strip(b" \t").lower() == b"chunked"


def first_line(data: bytes) -> bytes:
    """The first line that is not empty, with its ending if that has arrived."""
    line, ending, _ = data.lstrip(b"\r\n").partition(b"\r\n")
    return line + ending


def origin_form(target: bytes) -> bytes:
    """The target from its path on. The authority of an absolute form has been compared with Host."""
    if target[:1] == b"/" or target == b"*":
        return target
    rest = target.partition(b"://")[2]
    path = rest[len(authority(rest)) :]
    return path if path[:1] == b"/" else b"/" + path


def authority(rest: bytes) -> bytes:
    return rest.partition(b"/")[0].partition(b"?")[0]
