"""Several worker processes that serve one socket. One that ends is restarted."""

import asyncio
import os
import socket
import sys
import time
from asyncio.subprocess import Process
from contextlib import suppress
from dataclasses import replace

import structlog

from limiter.aio import AsyncLimiter
from limiter.api.backoff import Backoff
from limiter.api.command_errors import CannotStart
from limiter.api.logs.log_format import format_for
from limiter.api.rules import Rules
from limiter.api.server.reload import Watched
from limiter.api.server.stopping import shutdown_of
from limiter.api.server.worker import WORKER_OPTIONS, WorkerOptions
from limiter.api.settings.secret_values import CALLER_SECRET, SECRETS, file_variable

_log = structlog.get_logger("limiter.workers")

# How long a worker may take beyond its drain time, and to close its connections.
_GRACE_S = 2.0
# A worker gets the secrets that it needs with its options. Read again, a file could hold another one by now. The exception is the secret of
# the caller headers, which each process reads with the configuration.
_FOR_THE_PARENT = {*SECRETS, *map(file_variable, SECRETS)} - {CALLER_SECRET, file_variable(CALLER_SECRET)}


class Workers:
    """Like a Worker, but in several processes. `watched` and `limiter` are the parent's own, for the control plane."""

    def __init__(self, options: WorkerOptions, rules: Rules, listener: socket.socket, count: int) -> None:
        self._options, self._listener, self._count = options, listener, count
        self.watched = Watched(options.config, options.text, rules, _ignore, _ignore, has_v1_token=options.has_v1_token)
        self.limiter = AsyncLimiter(options.redis, prefix=options.prefix, deadline=rules.deadline)
        self._log_format = format_for(options.serve.log_format)
        self._running: dict[int, Process] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(self.watched.watch())]
        await asyncio.gather(*(self._begin(number) for number in range(1, self._count + 1)))
        self._tasks += [asyncio.create_task(self._keep(number)) for number in self._running]

    def reload(self) -> None:
        self.watched.reload()
        for worker in self._running.values():
            _send(worker, b"reload")

    @property
    def drain(self) -> float:
        return shutdown_of(self._options.serve, self.watched.rules).drain

    async def stop(self, drain: float) -> None:
        for task in self._tasks:
            task.cancel()
        # While any process has the socket open, the kernel accepts connections that no worker would serve.
        self._listener.close()
        workers = self._running.values()
        for worker in workers:
            if worker.stdin is not None:
                worker.stdin.close()
        ended = asyncio.gather(*(worker.wait() for worker in workers))
        try:
            await asyncio.wait([ended], timeout=drain + _GRACE_S if drain else 0)
        finally:
            for worker in workers:
                with suppress(ProcessLookupError):
                    worker.kill()
        await ended
        await self.limiter.close()

    async def _begin(self, number: int) -> None:
        worker = self._running[number] = await _start(self._listener, number, self._log_format)
        _send(worker, WORKER_OPTIONS.dump_json(replace(self._options, text=self.watched.text)))
        if worker.stdout is None or not await worker.stdout.readline():
            raise CannotStart(f"worker {number} did not start: the log above has the reason")

    async def _keep(self, number: int) -> None:
        backoff = Backoff()
        while True:
            began = time.monotonic()
            code = await self._running[number].wait()
            pause = backoff.pause_after(time.monotonic() - began)
            _log.error("worker ended, restarting it", worker=number, code=code, pause=pause)
            await asyncio.sleep(pause)
            try:
                await self._begin(number)
            except (CannotStart, OSError) as error:
                _log.error("worker cannot be restarted, trying again", worker=number, reason=str(error))


async def _start(listener: socket.socket, number: int, written: str) -> Process:
    fd = listener.fileno()
    return await asyncio.create_subprocess_exec(
        sys.executable,
        # -P: a folder named `limiter` in the working directory must not be imported instead.
        "-P",
        "-m",
        "limiter.api.server.worker",
        str(fd),
        str(number),
        written,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=(fd,),
        # Ctrl-C must reach only the parent, which stops its workers.
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if name not in _FOR_THE_PARENT},
    )


def _send(worker: Process, line: bytes) -> None:
    if worker.stdin is not None and not worker.stdin.is_closing():
        worker.stdin.write(line + b"\n")


def _ignore(*_: object) -> None:
    """The workers log reloads themselves."""
