"""Several worker processes that serve one socket. One that ends is restarted."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Self

import structlog

from limiter.aio import AsyncLimiter
from limiter.api.command_errors import CannotStart
from limiter.api.rules import Rules
from limiter.api.server.reload import Watched
from limiter.api.server.worker import STOP_S, WorkerOptions

_log = structlog.get_logger("limiter.workers")

# The pause before a restart, so that a worker that keeps failing does not keep the machine busy.
_RESTART_DELAY_S = 0.5


class WorkerProcess:
    """A worker process, as its parent sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, options: WorkerOptions, listener: socket.socket, number: int) -> Self:
        fd = listener.fileno()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            # -P: a folder named `limiter` in the working directory must not be imported instead.
            "-P",
            "-m",
            "limiter.api.server.worker",
            str(fd),
            str(number),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(fd,),
            # Ctrl-C must reach only the parent, which stops its workers.
            start_new_session=True,
        )
        worker = cls(process)
        worker._send(json.dumps(asdict(options)))
        return worker

    async def ready(self) -> bool:
        """Waits until it serves. Returns False if it ended instead."""
        assert self._process.stdout is not None  # noqa: S101 - for mypy
        return bool(await self._process.stdout.readline())

    async def ended(self) -> int:
        return await self._process.wait()

    def reload(self) -> None:
        self._send("reload")

    async def stop(self, timeout: float) -> None:
        if self._process.returncode is None and self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), timeout)
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    def _send(self, line: str) -> None:
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(line.encode() + b"\n")


class Workers:
    """Like a Worker, but in several processes. `watched` and `limiter` are the parent's own, for the control plane."""

    def __init__(self, options: WorkerOptions, rules: Rules, listener: socket.socket, count: int) -> None:
        self._options, self._listener, self._count = options, listener, count
        self.watched = Watched(Path(options.config), rules, _ignore, _ignore)
        self.limiter = AsyncLimiter(options.redis, prefix=options.prefix, deadline=rules.deadline)
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
        # While any process has the socket open, the kernel accepts connections that no worker would serve.
        self._listener.close()
        try:
            await asyncio.gather(*(worker.stop(STOP_S + 2) for worker in self._running.values()))
        finally:
            for worker in self._running.values():
                worker.kill()
        await self.limiter.close()

    async def _begin(self, number: int) -> None:
        worker = self._running[number] = await WorkerProcess.start(self._options, self._listener, number)
        if not await worker.ready():
            raise CannotStart(f"worker {number} did not start: the log above has the reason")

    async def _keep(self, number: int) -> None:
        while True:
            code = await self._running[number].ended()
            _log.error("worker ended, restarting it", worker=number, code=code)
            await asyncio.sleep(_RESTART_DELAY_S)
            with suppress(CannotStart):
                await self._begin(number)


def _ignore(*_: object) -> None:
    """The workers log reloads themselves."""
