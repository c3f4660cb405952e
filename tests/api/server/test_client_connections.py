"""How many connections a listener keeps open, and which ones it ends: for new ones, and after their time-outs.

In real time, as the subject is time-outs. They are a second or less here.
"""

import asyncio
import contextlib
import socket
import ssl

import pytest
import uvloop

from limiter.api.rules import ConnectionBounds
from limiter.api.server.certificates import context_of
from limiter.api.server.client_connections import SLOWEST, Connections, Pace, admin_connections, room_for
from limiter.api.server.listening import Listening, bind, config_for
from support.certificates import make_pair

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HELD = b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n"


async def echo(scope, receive, send):
    """Answers with the method, the path and the body. At /held it sends a head, and waits until the client disconnects."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    if scope["path"] == "/held":
        await send({"type": "http.response.start", "status": 200, "headers": []})
    while scope["path"] == "/held":
        if (await receive())["type"] == "http.disconnect":
            return
    answer = b"%b %b %b" % (scope["method"].encode(), scope["raw_path"], body)
    headers = [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def listening(talk, bounds=None, *, exempt=(), pair=None):
    """The result of `talk(address, connections)` with a listener that has these bounds. Nothing may stay of the connections."""

    async def scenario():
        in_force = bounds or ConnectionBounds()
        connections = Connections(lambda: in_force, room=1000, is_exempt=lambda peer: peer in exempt)
        listener = bind("127.0.0.1", 0, "--port")
        server = Listening(config_for(echo), listener, connections)
        if pair is not None:
            server.use(context_of(*pair))
        await server.start()
        try:
            async with asyncio.timeout(30):
                result = await talk(listener.getsockname(), connections)
                await until(lambda: not len(connections) and not server.server_state.connections)
                return result
        finally:
            await server.stop(1)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(scenario())


class Opened(contextlib.AsyncExitStack):
    """Opens connections from a loopback address, which is the address of the peer."""

    async def __call__(self, address, source="127.0.0.1", sends=b""):
        reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
        self.callback(writer.close)
        writer.write(sends)
        return reader, writer


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost, its key, and a context that trusts it."""
    chain, key = make_pair(tmp_path_factory.mktemp("certificate"), "localhost")
    return chain, key, ssl.create_default_context(cafile=chain)


async def begun(reader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def answered(reader) -> bytes:
    head = await begun(reader)
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head[9:12] + b" " + await reader.readexactly(length)


async def until(condition) -> None:
    while not condition():  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.01)


def test_a_peer_has_at_most_its_share_and_others_are_served():
    async def talk(address, _):
        async with Opened() as opened:
            for _ in range(3):
                await begun((await opened(address, "127.0.0.2", HELD))[0])
            refused = [await answered((await opened(address, "127.0.0.2", GET))[0]) for _ in range(3)]
            other = await answered((await opened(address, "127.0.0.3", GET))[0])
            return [answer[:3] for answer in refused], other

    refused, other = listening(talk, ConnectionBounds(per_peer=3))
    assert refused == [b"503"] * 3
    assert other == b"200 GET / "


def test_an_exempt_peer_may_exceed_its_share():
    async def talk(address, _):
        async with Opened() as opened:
            readers = [(await opened(address, "127.0.0.2", GET))[0] for _ in range(9)]
            return [await answered(reader) for reader in readers]

    assert listening(talk, ConnectionBounds(per_peer=3), exempt={"127.0.0.2"}) == [b"200 GET / "] * 9


def test_the_peer_with_the_most_idle_connections_loses_one_to_a_new_client():
    async def talk(address, connections):
        async with Opened() as opened:
            modest, writing = await opened(address, "127.0.0.2", GET)
            await answered(modest)
            greedy = [(await opened(address, "127.0.0.3"))[0] for _ in range(9)]
            await until(lambda: len(connections) == 10)
            new = await answered((await opened(address, "127.0.0.4", GET))[0])
            ended = await asyncio.wait_for(greedy[0].read(), 10)
            writing.write(GET)
            return new, ended, await answered(modest), len(connections)

    assert listening(talk, ConnectionBounds(most=10)) == (b"200 GET / ", b"", b"200 GET / ", 10)


def test_a_request_in_progress_is_not_ended_for_a_new_client():
    async def talk(address, _):
        async with Opened() as opened:
            held = [(await opened(address, sends=HELD))[0] for _ in range(3)]
            for reader in held:
                await begun(reader)
            refused = await answered((await opened(address, sends=GET))[0])
            return refused[:3], [reader.at_eof() for reader in held]

    assert listening(talk, ConnectionBounds(most=3)) == (b"503", [False] * 3)


def test_the_refusal_of_a_head_request_has_no_body():
    async def talk(address, _):
        # The request is in the queue of the kernel when the connection is accepted.
        with socket.create_connection(address) as connection:
            connection.sendall(GET.replace(b"GET", b"HEAD"))
            reader, writer = await asyncio.open_connection(sock=connection)
            head, rest = await begun(reader), await reader.read()
            writer.close()
            return head[9:12], rest

    assert listening(talk, ConnectionBounds(per_peer=0)) == (b"503", b"")


def test_a_connection_that_is_closed_makes_room_for_another():
    async def talk(address, connections):
        for _ in range(20):
            async with Opened() as opened:
                assert await answered((await opened(address, sends=GET))[0]) == b"200 GET / "
            await until(lambda: not len(connections))

    listening(talk, ConnectionBounds(most=1, per_peer=1))


def test_a_burst_of_more_connections_than_allowed_leaves_nothing_behind():
    async def talk(address, connections):
        async with Opened() as opened:
            await asyncio.gather(*(opened(address) for _ in range(100)))
            return len(connections)

    assert listening(talk, ConnectionBounds(most=10)) <= 10


def test_a_handshake_that_is_not_completed_times_out_and_gives_way(certificate):
    chain, key, context = certificate

    async def talk(address, connections):
        async with Opened() as opened:
            silent = [(await opened(address))[0] for _ in range(3)]
            await until(lambda: len(connections) == 3)
            reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname="localhost")
            writer.write(GET)
            answer = await answered(reader)
            for each in silent:
                assert await each.read() == b""
            writer.close()
            await until(lambda: not len(connections))
            return answer

    assert listening(talk, ConnectionBounds(most=3, head=1), pair=(chain, key)) == b"200 GET / "


def test_a_connection_over_tls_that_sends_nothing_times_out(certificate):
    chain, key, context = certificate

    async def talk(address, connections):
        reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname="localhost")
        assert await reader.read() == b""
        writer.close()
        await until(lambda: not len(connections))

    listening(talk, ConnectionBounds(head=1), pair=(chain, key))


def test_progress_moves_a_deadline_at_most_its_limit_ahead():
    pace = Pace()
    pace.start(0, 0.0, 10.0)
    assert not pace.is_late(1_000_000, 9.0, 10.0)
    assert not pace.is_late(1_000_000, 18.0, 10.0)
    assert pace.is_late(1_000_000, 19.0, 10.0)


@pytest.mark.parametrize(("rate", "lasts"), [(SLOWEST // 2, False), (SLOWEST, True)])
def test_steady_progress_below_the_slowest_rate_runs_out_of_time(rate, lasts):
    pace = Pace()
    pace.start(0, 0.0, 10.0)
    assert any(pace.is_late(second * rate, float(second), 10.0) for second in range(1, 100)) is not lasts


def test_the_descriptors_leave_room_for_more_than_clients(monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda _: (1000, 1000))
    assert room_for() + 100 < 1000
    assert room_for(each=2) == room_for() // 2


def test_a_slow_head_times_out():
    async def talk(address, _):
        async with Opened() as opened:
            reader, _ = await opened(address, sends=b"GET / HTTP/1.1\r\nX: y")
            return (await answered(reader))[:3], await reader.read()

    assert listening(talk, ConnectionBounds(head=1)) == (b"408", b"")


def test_the_admin_listener_has_the_same_bound_for_heads_and_fewer_connections():
    connections = admin_connections(idle=5)
    assert connections.head_timeout == ConnectionBounds().head
    assert connections.most == 64
