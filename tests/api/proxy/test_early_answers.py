"""An answer may come before the end of its request's body. The rest of the body is read, and so is the next request."""

import asyncio

import uvloop

from limiter.api.proxy.downstream import DownstreamProtocol
from limiter.api.proxy.small_reads import READ
from limiter.api.server.listening import Listening, bind, config_for

BODY = bytes(10 * READ)
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(BODY)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def test_the_rest_of_a_body_is_read_after_its_answer():
    async def scenario():
        answering = asyncio.Event()

        async def app(_scope, _receive, send):
            await answering.wait()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

        listener = bind("127.0.0.1", 0, "--port")
        server = Listening(config_for(app, http=DownstreamProtocol), listener)
        await server.start()
        try:
            async with asyncio.timeout(20):
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                writer.write(POST + BODY[: 2 * READ])
                while not any(each.cycle and len(each.cycle.body) >= READ for each in server.server_state.connections):  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.01)
                answering.set()
                await reader.readuntil(b"ok")
                writer.write(BODY[2 * READ :] + GET)
                await reader.readuntil(b"ok")
                writer.close()
        finally:
            await server.stop(1)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
