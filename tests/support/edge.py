"""The front of one sidecar in the event loop of the test, over a registry whose clock may be injected."""

import asyncio
import json
from functools import partial
from types import SimpleNamespace

from limiter import AsyncLimiter
from limiter.api.answers import Answer
from limiter.api.front import Front
from limiter.api.identity import Directory


class Reply:
    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.headers = {name.decode(): value.decode() for name, value in answer.headers}
        self.problem = json.loads(answer.body) if answer.body else {}

    @property
    def retry_after(self) -> int:
        return int(self.headers["retry-after"])


class Receiver:
    def __init__(self) -> None:
        self.answer = asyncio.get_running_loop().create_future()
        self.ran_a_task = False

    def deliver(self, answer):
        self.answer.set_result(answer)

    def deliver_later(self, answering):
        self.ran_a_task = True
        self._task = asyncio.create_task(self._finish(answering))

    def abort(self, error):
        self.answer.set_exception(error)

    async def _finish(self, answering):
        try:
            self.deliver(await answering)
        except Exception as error:  # noqa: BLE001 - the test sees it
            self.abort(error)


class Edge:
    def __init__(self, world, rules, *, deadline=5.0) -> None:
        self.keys = world.registered_keys(deadline=deadline)
        self.limiter = AsyncLimiter(world.url, prefix=world.prefix, deadline=deadline, clock=world.registry.store.clock)
        self.front = Front(SimpleNamespace(rules=rules), self.limiter, partial(Directory, registered=self.keys))

    async def ask(self, key=None, path="/", address="203.0.113.1") -> Reply:
        return (await self.receive(key, path, address))[0]

    async def receive(self, key=None, path="/", address="203.0.113.1") -> tuple[Reply, Receiver]:
        """By the fast path of the server."""
        raw = f"/authorize{path}"
        scope = {"type": "http", "method": "GET", "scheme": "http", "path": raw, "raw_path": raw.encode(), "client": (address, 1)}
        scope["headers"] = [(b"host", b"x")] + ([(b"x-api-key", key.encode())] if key else [])
        receiver = Receiver()
        assert self.front.begin(scope, receiver)
        return Reply(await receiver.answer), receiver

    async def ask_often(self, number, key=None, path="/", address="203.0.113.1") -> list[int]:
        """The statuses of requests one after the other."""
        return [(await self.ask(key, path, address)).status for _ in range(number)]
