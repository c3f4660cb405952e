"""A request that the front cannot answer in time is held unparsed, then shed with 503, whatever its form. The connection stays usable."""

import asyncio
import json

import pytest
from structlog.testing import capture_logs

from limiter import AsyncLimiter, Policy, SlidingWindow
from limiter.api.front import Front
from limiter.api.logs.access import AccessLog
from limiter.api.registry.key_format import sha256_of
from limiter.api.rules import FileKey, Rules, Tier
from limiter.api.server.listening import Listening, bind, config_for
from limiter.api.server.protocol import FrontProtocol

POLICY = Policy("standard", [SlidingWindow(1000, 60)], failure="open")
KEY = FileKey("key-1", sha256_of("one-key").hex(), "account-1", Tier("free", POLICY))
DEADLINE = 0.1


class Watched:
    def __init__(self, rules):
        self.rules = rules


def asked(method="GET", path="/authorize/items", lines="", body=""):
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer one-key\r\n{lines}\r\n{body}".encode()


FORMS = {
    "get": asked(),
    "get-elsewhere": asked(path="/nowhere"),
    "post": asked("POST", lines="Content-Length: 4\r\n", body="body"),
    "chunked": asked("POST", lines="Transfer-Encoding: chunked\r\n", body="4\r\nbody\r\n0\r\n\r\n"),
    "v1": asked("POST", "/v1/take", "Content-Type: application/json\r\nContent-Length: 2\r\n", "{}"),
}


def with_front(server, prefix, talk, *, app=lambda front: front, **settings):
    """The result of `talk(reader, writer, limiter, front)` on a connection to a front."""

    async def scenario():
        watched = Watched(Rules({POLICY.name: POLICY}, keys={KEY.digest: KEY}, prefix=prefix, deadline=10, **settings))
        async with AsyncLimiter(server.url, prefix=prefix, deadline=DEADLINE) as limiter:
            await limiter.connect()
            listener = bind("127.0.0.1", 0, "--port")
            front = Front(watched, limiter)
            listening = Listening(config_for(app(front), http=FrontProtocol), listener)
            await listening.start()
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            try:
                async with asyncio.timeout(20):
                    return await talk(reader, writer, limiter, front)
            finally:
                writer.close()
                await listening.stop(1)

    return asyncio.run(scenario())


def overload(limiter):
    """As if more callers waited than can be decided in time."""
    limiter.backlog.most = -1


def relieve(limiter):
    limiter.backlog.most = 1000


async def answer(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
    return head


async def shed(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = json.loads(await reader.readexactly(length))
    assert b"x-ratelimit-degraded" not in head
    return head[9:12], b"retry-after: 1\r\n" in head, body["status"], body["type"].partition("#")[2]


@pytest.mark.parametrize("form", FORMS)
def test_a_request_of_any_form_is_shed_and_the_next_one_is_answered(server, prefix, form):
    async def talk(reader, writer, limiter, front):
        overload(limiter)
        writer.write(FORMS[form])
        first = await shed(reader)
        relieve(limiter)
        writer.write(asked())
        return first, (await answer(reader))[9:12], front.overload.shed

    assert with_front(server, prefix, talk) == ((b"503", True, 503, "temporary-reduced-capacity"), "200", 1)


@pytest.mark.parametrize("app", [lambda front: front, AccessLog], ids=["plain", "access-log"])
def test_a_request_that_is_held_is_answered_as_soon_as_there_is_room(server, prefix, app):
    async def talk(reader, writer, limiter, front):
        front.overload._patience = 10  # noqa: SLF001 - long enough for a busy machine
        overload(limiter)
        writer.write(asked())
        await asyncio.sleep(0.02)
        relieve(limiter)
        return (await answer(reader))[9:12], front.overload.shed

    assert with_front(server, prefix, talk, app=app) == ("200", 0)


@pytest.mark.parametrize("form", FORMS)
def test_a_request_that_is_shed_is_in_the_access_log(server, prefix, form):
    async def talk(reader, writer, limiter, front):
        overload(limiter)
        writer.write(FORMS[form])
        return await shed(reader), front.overload.shed

    with capture_logs() as lines:
        assert with_front(server, prefix, talk, app=AccessLog) == ((b"503", True, 503, "temporary-reduced-capacity"), 1)
    assert [line["status"] for line in lines if line["event"] == "request"] == [503]


def test_pipelined_requests_are_shed_one_by_one_and_in_order(server, prefix):
    async def talk(reader, writer, limiter, front):
        overload(limiter)
        writer.write(asked() * 3)
        first = [await shed(reader) for _ in range(3)]
        relieve(limiter)
        writer.write(asked() * 2)
        return len(first), [(await answer(reader))[9:12] for _ in range(2)], front.overload.shed

    assert with_front(server, prefix, talk) == (3, ["200", "200"], 3)


def test_a_head_that_arrives_in_two_parts_is_shed_once(server, prefix):
    async def talk(reader, writer, limiter, front):
        overload(limiter)
        writer.write(asked()[:30])
        await asyncio.sleep(0.02)
        writer.write(asked()[30:])
        first = await shed(reader)
        relieve(limiter)
        writer.write(asked())
        return first[0], (await answer(reader))[9:12], front.overload.shed

    assert with_front(server, prefix, talk) == (b"503", "200", 1)


def test_a_client_of_http_1_0_gets_the_end_of_the_connection_too(server, prefix):
    async def talk(reader, writer, limiter, _):
        overload(limiter)
        writer.write(asked().replace(b"HTTP/1.1", b"HTTP/1.0"))
        return await reader.read()

    assert with_front(server, prefix, talk).startswith(b"HTTP/1.1 503")


def test_a_gateway_that_takes_only_403_gets_the_status_in_a_header(server, prefix):
    async def talk(reader, writer, limiter, _):
        overload(limiter)
        writer.write(asked())
        return await answer(reader)

    head = with_front(server, prefix, talk, deny_status=403)
    assert head[9:12] == "403"
    assert "x-ratelimit-status: 503\r\n" in head


def test_a_shed_request_is_not_counted(server, prefix):
    async def talk(reader, writer, limiter, _):
        overload(limiter)
        writer.write(asked())
        await shed(reader)
        relieve(limiter)
        return (await limiter.inspect(POLICY, KEY.name, account=KEY.account))[0].used

    assert with_front(server, prefix, talk) == 0
