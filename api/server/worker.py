"""The front in a process: the rules it goes by, its limiter, its listener; alone, or as one of several workers.

A worker is `python -m limiter.api.server.worker FD`. Its first line of input is what it is to do, as JSON; a later `reload` has it read the
configuration again, and the end of the input is the end of its work: so it never outlives the process that started it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Self

import structlog

from limiter.aio import AsyncLimiter
from limiter.api import registry as keys
from limiter.api.command_errors import CannotStart
from limiter.api.config.loader import ConfigError, load
from limiter.api.front import Application, Front
from limiter.api.identity.registered import Registered
from limiter.api.proxy.proxy import Proxy
from limiter.api.registry.registry import connected
from limiter.api.rules import Rules
from limiter.api.server import logs
from limiter.api.server.access import logged
from limiter.api.server.listening import Listening, config_for
from limiter.api.server.protocol import FrontProtocol
from limiter.api.server.reload import Watched
from limiter.api.v1.app import Decisions

STOP_S = 10.0

_log = structlog.get_logger("limiter.front")


@dataclass(frozen=True, slots=True)
class Task:
    """What a front is to do, in plain values, as they go from process to process."""

    config: str
    redis: str
    prefix: str
    key_prefix: str
    upstream: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    access_log: bool = False


class Worker:
    """The front, running."""

    def __init__(self, task: Task, rules: Rules, listener: socket.socket) -> None:
        self.watched = Watched(Path(task.config), rules, on_swap=_swapped, on_refusal=_refused)
        self.limiter = AsyncLimiter(task.redis, prefix=task.prefix, deadline=rules.deadline)
        self._proxy = Proxy(task.upstream, trusts=self._trusts) if task.upstream else None
        self._registry = connected(task.redis)
        # One for all files that this worker will ever read: who is known stays known.
        form = keys.Form.from_environment(task.key_prefix)
        self._keys = keys.Directory(keys.Registry(self._registry, prefix=task.prefix, form=form), deadline=rules.deadline)
        self._front = Front(
            self.watched,
            self.limiter,
            partial(Registered, self._keys),
            decisions=Decisions(self.watched, self.limiter),
            proxy=self._proxy,
        )
        app: Application = logged(self._front) if task.access_log else self._front
        cert, key = (Path(path) if path else None for path in (task.tls_cert, task.tls_key))
        self._server = Listening(config_for(app, cert=cert, key=key, http=FrontProtocol), listener)
        self._running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._running = [asyncio.create_task(self.watched.watch()), asyncio.create_task(self._keys.run())]
        await self._server.start()

    async def stop(self, deadline: float = STOP_S) -> None:
        self._front.draining = True
        await self._server.stop(deadline)
        for task in self._running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if self._proxy:
            await self._proxy.close()
        await self._registry.aclose()
        await self.limiter.close()

    def reload(self) -> None:
        self.watched.reload()

    def _trusts(self, ip: str) -> bool:
        # By the rules of the moment, which outlive no reload.
        return self.watched.rules.trusts(ip)


def _swapped(old: Rules, new: Rules) -> None:
    _log.info("the configuration was read again, and is in force", config=new.digest, policies=sorted(new.policies))
    if (old.redis_url, old.prefix, old.key_prefix) != (new.redis_url, new.prefix, new.key_prefix):
        _log.warning("another Redis, or another prefix, also of keys, is taken at the next start only")


def _refused(error: ConfigError) -> None:
    _log.error("the changed configuration is refused; the one before stays in force", mistakes=[str(each) for each in error.mistakes])


class WorkerProcess:
    """One worker, seen from the process that started it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, task: Task, listener: socket.socket, number: int) -> Self:
        fd = listener.fileno()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            # Whatever is called `limiter` in the folder that we were started from, it is not us.
            "-P",
            "-m",
            "limiter.api.server.worker",
            str(fd),
            str(number),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(fd,),
            # Ctrl-C is for the parent, which tells its workers.
            start_new_session=True,
        )
        worker = cls(process)
        worker._say(json.dumps(asdict(task)))
        return worker

    async def ready(self) -> bool:
        """Whether it serves; False if it ended instead."""
        assert self._process.stdout is not None  # noqa: S101 - for mypy
        return bool(await self._process.stdout.readline())

    async def ended(self) -> int:
        return await self._process.wait()

    def reload(self) -> None:
        self._say("reload")

    async def stop(self, patience: float) -> None:
        if self._process.returncode is None and self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), patience)
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    def _say(self, line: str) -> None:
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(line.encode() + b"\n")


def main() -> None:
    """A worker's whole life."""
    logs.set_up(worker=int(sys.argv[2]))
    try:
        import uvloop  # noqa: PLC0415 - the parent does not need it here

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_work(int(sys.argv[1])))
    except (CannotStart, ConfigError) as error:
        _log.error("the worker cannot start", reason=str(error))
        sys.exit(1)


async def _work(fd: int) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    orders = await _orders()
    task = Task(**json.loads(await orders.readline() or b"null"))
    worker = Worker(task, load(Path(task.config)), socket.socket(fileno=fd))
    await worker.start()
    os.write(sys.stdout.fileno(), b"ready\n")
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    obeying = asyncio.create_task(_obey(orders, worker, stopping))
    await stopping.wait()
    await worker.stop()
    obeying.cancel()


async def _obey(orders: asyncio.StreamReader, worker: Worker, stopping: asyncio.Event) -> None:
    while order := await orders.readline():
        if order == b"reload\n":
            worker.reload()
    stopping.set()


async def _orders() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


if __name__ == "__main__":
    main()
