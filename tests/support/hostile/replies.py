"""The sidecar's bytes, parsed strictly, and what every reply must be."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from support.hostile.expected import ONCE, SHED_TYPE
from support.hostile.heads import WELL_FORMED
from support.hostile.scene import SECRET
from support.servers.sidecar import TOKEN

_HEAD = re.compile(rb"HTTP/1\.1 ([1-5]\d\d) ([ -~]*)\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[\t -~]*\r\n)*)\r\n").fullmatch
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})\r\n").match
_BODILESS = {204, 304}
_TOKENS = (SECRET.encode(), TOKEN.encode())
_ISSUED = [key.encode() for key in WELL_FORMED]


class Malformed(Exception):
    """The sidecar sent something that is not a reply."""


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes

    @property
    def closes(self) -> bool:
        return self.headers.get("connection", "").lower() == "close"

    @property
    def is_shed(self) -> bool:
        return self.status == 503 and self.problem.get("type") == SHED_TYPE

    @property
    def problem(self) -> dict:
        return json.loads(self.body) if self.headers.get("content-type") == "application/problem+json" and self.body else {}


class Replies:
    """Collects bytes. `take` returns the next reply, or None until it is complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at_end = False

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def end(self) -> None:
        self._at_end = True

    @property
    def rest(self) -> bytes:
        return bytes(self._buffer)

    def take(self, method: bytes) -> Reply | None:
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return None
            found = _HEAD(self._buffer, 0, end + 4)
            if not found:
                raise Malformed(f"not the head of a reply: {self.rest[: end + 4]!r}")
            if found[1] != b"100":
                break
            del self._buffer[: end + 4]
        status, headers = int(found[1]), _headers(found[3])
        body, size = self._body(end + 4, headers, has_body=method != b"HEAD" and status not in _BODILESS)
        if body is None:
            return None
        raw = bytes(self._buffer[:size])
        del self._buffer[:size]
        return Reply(status, headers, body, raw)

    def _body(self, start: int, headers: dict[str, str], *, has_body: bool) -> tuple[bytes | None, int]:
        if not has_body:
            return b"", start
        if "transfer-encoding" in headers:
            return self._chunks(start)
        if "content-length" not in headers and headers.get("connection") == "close":
            return (bytes(self._buffer[start:]), len(self._buffer)) if self._at_end else (None, 0)
        if not headers.get("content-length", "").isdigit():
            raise Malformed(f"a reply of unknown length: {headers}")
        end = start + int(headers["content-length"])
        return (bytes(self._buffer[start:end]), end) if len(self._buffer) >= end else (None, 0)

    def _chunks(self, at: int) -> tuple[bytes | None, int]:
        body = b""
        while found := _CHUNK(self._buffer, at):
            size, at = int(found[1], 16), found.end()
            if len(self._buffer) < at + size + 2:
                return None, 0
            if self._buffer[at + size : at + size + 2] != b"\r\n":
                raise Malformed("a chunk that is not as long as it says")
            body, at = body + self._buffer[at : at + size], at + size + 2
            if size == 0:
                return body, at
        if len(self._buffer) > at + 10:
            raise Malformed(f"not a chunk: {self._buffer[at : at + 40]!r}")
        return None, 0


def _headers(lines: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines.decode("ascii").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name = name.lower()
        if name in found and name in ONCE:
            raise Malformed(f"{name} twice")
        found[name] = value.strip()
    if "transfer-encoding" in found and "content-length" in found:
        raise Malformed("both Transfer-Encoding and Content-Length")
    return found


def mistakes(reply: Reply, allowed: set[int], method: bytes) -> Iterator[str]:
    """What is wrong with a reply to a request that may get one of the `allowed` statuses."""
    if reply.status not in allowed and not reply.is_shed:
        yield f"status {reply.status}, and not one of {sorted(allowed)}"
    if any(secret in reply.raw for secret in _TOKENS) or (b"ff_live_" in reply.raw and any(key in reply.raw for key in _ISSUED)):
        yield "a secret is in the reply"
    headers, kind = reply.headers, reply.headers.get("content-type", "")
    if reply.status == 429 and not ("ratelimit" in headers and int(headers.get("retry-after", "0")) >= 1):
        yield "a denial without its numbers"
    if reply.status in (401, 405) and {401: "www-authenticate", 405: "allow"}[reply.status] not in headers:
        yield f"{reply.status} without the header that it requires"
    if kind.startswith("application/") and kind.endswith("json") and method != b"HEAD" and reply.status not in _BODILESS:
        yield from _mistakes_in_json(reply, kind)


def _mistakes_in_json(reply: Reply, kind: str) -> Iterator[str]:
    if not all(32 <= byte < 127 or byte >= 128 for byte in reply.body.replace(b"\n", b"")):
        yield "control characters in the body"
    try:
        body = json.loads(reply.body, parse_constant=_reject)
    except ValueError as error:
        yield f"the body is not JSON: {error}"
        return
    if kind == "application/problem+json":
        if not (isinstance(body, dict) and body.get("status") == reply.status):
            yield "the status in the body is another one"
        elif not all(isinstance(body.get(name), str) and body[name] for name in ("type", "title", "detail")):
            yield "a problem without a type, a title or a detail"
    elif isinstance(body, dict) and ("decisions" in body or "binding" in body):
        for decision in body.get("decisions", [body]):
            if not all(0 <= limit["remaining"] <= limit["capacity"] and limit["reset_after"] >= 0 for limit in decision["limits"]):
                yield f"a count outside of its limit: {decision}"


def _reject(name: str) -> None:
    raise ValueError(name)
