"""Several fronts on one socket: each a process, started again should it end."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import structlog

from limiter.aio import AsyncLimiter
from limiter.api.command_errors import CannotStart
from limiter.api.rules import Rules
from limiter.api.server.reload import Watched
from limiter.api.server.worker import STOP_S, Task, WorkerProcess

_log = structlog.get_logger("limiter.workers")

# Between the end of a worker and the start of the next: one that cannot live shall not keep the machine busy.
_REST_S = 0.5


def _quietly(*_: object) -> None:
    """Each worker says itself what it thinks of a changed file."""


class Workers:
    """What a Worker is in one process. `watched` and `limiter` are the parent's own, for the control plane."""

    def __init__(self, task: Task, rules: Rules, listener: socket.socket, count: int) -> None:
        self._task, self._listener, self._count = task, listener, count
        self.watched = Watched(Path(task.config), rules, _quietly, _quietly)
        self.limiter = AsyncLimiter(task.redis, prefix=task.prefix, deadline=rules.deadline)
        self._watching: asyncio.Task[None] | None = None
        self._running: dict[int, WorkerProcess] = {}
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._watching = asyncio.create_task(self.watched.watch())
        await asyncio.gather(*(self._begin(number) for number in range(1, self._count + 1)))
        self._keepers = [asyncio.create_task(self._keep(number)) for number in self._running]

    def reload(self) -> None:
        self.watched.reload()
        for worker in self._running.values():
            worker.reload()

    async def stop(self) -> None:
        for task in (*self._keepers, self._watching):
            if task:
                task.cancel()
        # As long as any process has the socket open, connections are taken that nobody will answer.
        self._listener.close()
        try:
            await asyncio.gather(*(worker.stop(STOP_S + 2) for worker in self._running.values()))
        finally:
            for worker in self._running.values():
                worker.kill()
        await self.limiter.close()

    async def _begin(self, number: int) -> None:
        worker = self._running[number] = await WorkerProcess.start(self._task, self._listener, number)
        if not await worker.ready():
            raise CannotStart(f"worker {number} did not start: its reason is above")

    async def _keep(self, number: int) -> None:
        while True:
            code = await self._running[number].ended()
            _log.error("a worker ended and is started again", worker=number, code=code)
            await asyncio.sleep(_REST_S)
            with suppress(CannotStart):
                await self._begin(number)
