"""The fast path treats a connection as uvicorn does: idle time, order of answers, and closing."""

import asyncio
import socket
import time

import pytest

from limiter import AsyncLimiter, Policy, SlidingWindow
from limiter.api.answers import Answer
from limiter.api.front import Front
from limiter.api.registry.key_format import sha256_of
from limiter.api.rules import FileKey, Rules, Tier
from limiter.api.server.listening import Listening, bind, config_for
from limiter.api.server.protocol import FrontProtocol

POLICY = Policy("standard", [SlidingWindow(1000, 60)])
KEY = FileKey("key-1", sha256_of("one-key").hex(), "account-1", Tier("free", POLICY))
IDLE_S = 0.3


class Watched:
    def __init__(self, prefix):
        self.rules = Rules({POLICY.name: POLICY}, keys={KEY.digest: KEY}, prefix=prefix, deadline=10)


def asked(method="GET", path="/authorize/items", lines="", body=""):
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer one-key\r\n{lines}\r\n{body}".encode()


def with_front(server, prefix, talk):
    """The result of `talk(reader, writer, front)` on a connection to a front that closes idle connections after 0.3 s."""

    async def scenario():
        async with AsyncLimiter(server.url, prefix=prefix, deadline=10) as limiter:
            listener = bind("127.0.0.1", 0, "--port")
            front = Front(Watched(prefix), limiter)
            listening = Listening(config_for(front, http=FrontProtocol, timeout_keep_alive=IDLE_S), listener)
            await listening.start()
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            try:
                async with asyncio.timeout(20):
                    return await talk(reader, writer, front)
            finally:
                writer.close()
                await listening.stop(1)

    return asyncio.run(scenario())


async def answer(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    await reader.readexactly(length)
    return head


def remaining(head):
    return int(head.partition("x-ratelimit-remaining: ")[2].partition("\r\n")[0])


def test_an_idle_connection_is_closed_after_its_timeout(server, prefix):
    """In real time. The timeout counts from the last answer."""

    async def talk(reader, writer, _):
        for _ in range(4):
            await asyncio.sleep(IDLE_S * 0.6)
            writer.write(asked())
            await answer(reader)
        last = time.monotonic()
        assert await reader.read() == b""
        return time.monotonic() - last

    assert IDLE_S * 0.9 < with_front(server, prefix, talk) < IDLE_S + 5


def test_a_connection_with_an_incomplete_request_is_not_idle(server, prefix):
    async def talk(reader, writer, _):
        writer.write(asked())
        await answer(reader)
        writer.write(asked()[:30])
        await asyncio.sleep(IDLE_S * 2.5)
        writer.write(asked()[30:])
        return await answer(reader)

    assert with_front(server, prefix, talk).startswith("http/1.1 200")


def test_pipelined_requests_are_answered_in_order(server, prefix):
    async def talk(reader, writer, _):
        writer.write(
            asked() * 3 + asked(path="/nowhere") + asked("HEAD") + asked("POST", lines="Content-Length: 4\r\n", body="body") + asked()
        )
        heads = [await answer(reader) for _ in range(4)]
        # The length is that of the answer to a GET, and no body follows.
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        heads += [await answer(reader) for _ in range(2)]
        return heads

    heads = with_front(server, prefix, talk)
    assert [head[9:12] for head in heads] == ["200", "200", "200", "404", "200", "200", "200"]
    assert [remaining(head) for head in heads if "200" in head[:12]] == [999, 998, 997, 996, 995, 994]


@pytest.mark.parametrize("lines", ["Content-Length: 5\r\n", "Content-Length: 5\r\nExpect: 100-continue\r\n"])
def test_a_body_that_arrives_late_is_skipped(server, prefix, lines):
    async def talk(reader, writer, _):
        writer.write(asked("POST", lines=lines))
        first = await answer(reader)
        writer.write(b"GET /" + asked())
        return first, await answer(reader)

    assert [head[:12] for head in with_front(server, prefix, talk)] == ["http/1.1 200"] * 2


def test_connection_close_is_obeyed(server, prefix):
    async def talk(reader, writer, _):
        writer.write(asked(lines="Connection: close\r\n"))
        return await reader.read()

    received = with_front(server, prefix, talk)
    assert received.startswith(b"HTTP/1.1 200")
    assert b"connection: close\r\n" in received


def test_a_client_that_disconnects_does_not_affect_others(server, prefix):
    async def talk(reader, writer, _):
        with socket.create_connection(writer.get_extra_info("peername")) as other:
            other.sendall(asked())
        writer.write(asked())
        return await answer(reader)

    assert with_front(server, prefix, talk).startswith("http/1.1 200")


def test_an_answer_that_cannot_be_sent_closes_only_its_own_connection(server, prefix):
    async def talk(reader, writer, front):
        broken, front.end = front.end, lambda *_: Answer(1000)
        writer.write(asked())
        lost = await reader.read()
        front.end = broken
        others, writing = await asyncio.open_connection(*writer.get_extra_info("peername"))
        writing.write(asked())
        head = await answer(others)
        writing.close()
        return lost, head

    lost, head = with_front(server, prefix, talk)
    assert lost == b""
    assert remaining(head) == 998


REFUSED_LINES = {
    b"GET /authorize HTTP/2.0": 505,
    b"GET /authorize HTTP/0.9": 505,
    b"GET /authorize": 505,
    b"GET /authorize RTSP/1.1": 400,
    b"SOURCE /authorize ICE/1.0": 400,
    b"GET  /authorize HTTP/1.1": 400,
    b"GET /authorize  HTTP/1.1": 400,
}


@pytest.mark.parametrize(("line", "status"), REFUSED_LINES.items())
@pytest.mark.parametrize("before", [b"", b"\r\n", asked(method="POST", lines="Content-Length: 1\r\n", body="x")], ids=["", "CRLF", "POST"])
def test_a_line_of_another_protocol_or_form_is_refused(server, prefix, line, status, before):
    async def talk(reader, writer, _):
        for part in (before + line[:9], line[9:] + b"\r\nAuthorization: Bearer one-key\r\n\r\n"):
            writer.write(part)
            await asyncio.sleep(0)
        answers = (await reader.read()).decode()
        return [int(part[:3]) for part in answers.split("HTTP/1.1 ")[1:]]

    assert with_front(server, prefix, talk) == [*([200] if len(before) > 2 else []), status]


def test_a_header_with_a_valid_request_line_does_not_hide_another_one(server, prefix):
    async def talk(reader, writer, _):
        writer.write(b"GET /authorize RTSP/1.1\r\nX: GET /authorize HTTP/1.1\r\n\r\n")
        return (await answer(reader))[:12]

    assert with_front(server, prefix, talk) == "http/1.1 400"


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_a_request_in_many_segments_behind_empty_lines_is_served(server, prefix, version):
    async def talk(reader, writer, _):
        for byte in b"\r\n\r\n" + asked().replace(b"HTTP/1.1", version.encode()):
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        return (await answer(reader))[:12]

    assert with_front(server, prefix, talk) == "http/1.1 200"
