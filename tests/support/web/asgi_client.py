"""Drives an ASGI application without a server, one event at a time."""

import asyncio
from contextlib import asynccontextmanager, contextmanager

from limiter import AsyncLimiter


def scope_of(path="/", *, kind="http", peer=("203.0.113.7", 4711), headers=(), extensions=()) -> dict:
    scope = {"type": kind, "path": path, "query_string": b"", "client": peer, "headers": list(headers)}
    return {**scope, "method": "GET"} if kind == "http" else {**scope, "extensions": {name: {} for name in extensions}}


async def call(app, scope, events=({"type": "http.request", "body": b"", "more_body": False},)) -> list[dict]:
    """What the application sends."""
    sent, received = [], iter(events)

    async def receive():
        return next(received)

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent


def headers_of(message) -> dict[str, str]:
    names = [name for name, _ in message["headers"]]
    assert len(names) == len(set(names)), names
    return {name.decode(): value.decode() for name, value in message["headers"]}


class Limited:
    """Runs coroutines of a test in one loop, with a limiter that is closed at the end."""

    def __init__(self, runner: asyncio.Runner, limiter: AsyncLimiter) -> None:
        self.run, self.limiter = runner.run, limiter

    def call(self, app, *args, **kwargs) -> list[dict]:
        return self.run(call(app, *args, **kwargs))


@contextmanager
def limited(url: str, **options):
    with asyncio.Runner() as runner:
        limiter = AsyncLimiter(url, **options)
        yield Limited(runner, limiter)
        runner.run(limiter.close())


def responding(status=200, headers=((b"content-type", b"text/plain"),)):
    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    return app


def with_lifespan(app, limiter=None):
    """The application, which also takes part in its server's lifespan, and closes a limiter at the end of it."""

    async def complete(scope, receive, send):
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for kind in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{kind}"
            if limiter and kind == "shutdown":
                await limiter.close()
            await send({"type": f"lifespan.{kind}.complete"})

    return complete


@asynccontextmanager
async def lifespan(app):
    """Starts the application, and shuts it down at the end."""
    to_app, from_app = asyncio.Queue(), asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan"}, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    assert (await from_app.get())["type"] == "lifespan.startup.complete"
    yield
    await to_app.put({"type": "lifespan.shutdown"})
    assert (await from_app.get())["type"] == "lifespan.shutdown.complete"
    await task
