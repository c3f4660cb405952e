"""The front in one process: its rules, its limiter and its listener. It runs in the main process, or as one of several workers.

A worker process is `python -m limiter.api.server.worker FD NUMBER FORMAT`. The first line of its stdin is a WorkerOptions as JSON. A
later line `reload` makes it reload the configuration. It stops at the end of stdin, so it never outlives the process that started it.
Signals are for that process alone, which decides when its workers stop.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog
import uvloop
from pydantic import TypeAdapter

from limiter.addresses import is_loopback
from limiter.aio import AsyncLimiter
from limiter.api.callers.host_header import AllowedHosts
from limiter.api.callers.v1_callers import V1Callers
from limiter.api.command_errors import CannotStart
from limiter.api.config.loader import ConfigError, loads
from limiter.api.front import Application, Front
from limiter.api.identity import Directory, RegisteredKeys
from limiter.api.logs import log_format
from limiter.api.logs.access import AccessLog
from limiter.api.proxy.proxy import Proxy
from limiter.api.registry import KeyFormat, Registry, connected
from limiter.api.rules import Rules
from limiter.api.server.certificates import Certificate
from limiter.api.server.client_connections import Connections, room_for
from limiter.api.server.listening import Listening, config_for
from limiter.api.server.protocol import FrontProtocol
from limiter.api.server.reload import Watched
from limiter.api.server.stopping import shutdown_of
from limiter.api.settings.serve_options import ServeOptions
from limiter.api.v1.decisions import Decisions
from limiter.errors import BackendError

# The longest line that a worker reads: the options with the text of a large configuration.
_LONGEST_LINE = 16 * 2**20

_log = structlog.get_logger("limiter.front")


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """The options of a front. All its workers share the file, the Redis and the prefixes that were in force at the start.

    A worker starts with `text`, the configuration in force. The file may have changed and may be invalid by then.
    """

    serve: ServeOptions
    config: Path
    text: str = field(repr=False)
    redis: str
    prefix: str
    key_prefix: str
    pepper: str = field(default="", repr=False)
    v1_token: str | None = field(default=None, repr=False)

    @property
    def has_v1_token(self) -> bool:
        return self.serve.can_require(self.v1_token)


# Passes the options to another process.
WORKER_OPTIONS = TypeAdapter(WorkerOptions)


class Worker:
    def __init__(self, options: WorkerOptions, rules: Rules, listener: socket.socket) -> None:
        self._options, serve = options, options.serve
        self.watched = Watched(options.config, options.text, rules, _swapped, _refused, has_v1_token=options.has_v1_token)
        self.limiter = AsyncLimiter(options.redis, prefix=options.prefix, deadline=rules.deadline)
        # Reads `watched.rules` for each request, as a reload replaces them.
        self._proxy = self._proxy_to(serve.upstream) if serve.upstream else None
        self._redis = connected(options.redis)
        registry = Registry(self._redis, prefix=options.prefix, key_format=KeyFormat(options.key_prefix, options.pepper.encode()))
        # Shared by the directories of all files that this worker reads, so that keys stay in memory through a reload.
        self._keys = RegisteredKeys(registry, deadline=rules.deadline)
        self._front = Front(
            self.watched,
            self.limiter,
            partial(Directory, registered=self._keys),
            decisions=Decisions(self.watched, self.limiter, V1Callers(options.v1_token, AllowedHosts(serve.allowed_host))),
            proxy=self._proxy,
        )
        app: Application = AccessLog(self._front) if serve.access_log else self._front
        self._server = Listening(config_for(app, http=FrontProtocol), listener, self._connections(proxies=self._proxy is not None))
        self._certificate = self._certificate_of(serve)
        self._running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        try:
            await self.limiter.connect()
        except BackendError as error:
            _log.warning("not connected to Redis at the start: the failure modes of the policies apply until it answers", reason=str(error))
        work = [self.watched.watch(), self._keys.run(), *([self._certificate.watch()] if self._certificate else [])]
        self._running = [asyncio.create_task(each) for each in work]
        await self._server.start()
        _collect_rarely()

    async def stop(self, drain: float) -> None:
        self._front.draining = True
        await self._server.stop(drain)
        for task in self._running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if self._proxy:
            await self._proxy.close()
        await self._keys.close()
        await self._redis.aclose()
        await self.limiter.close()

    def reload(self) -> None:
        self.watched.reload()
        if self._certificate:
            self._certificate.reload()

    @property
    def drain(self) -> float:
        return shutdown_of(self._options.serve, self.watched.rules).drain

    def _proxy_to(self, upstream: str) -> Proxy:
        return Proxy(upstream, trusts=lambda ip: ip in self.watched.rules.trusted_proxies, timeouts=lambda: self.watched.rules.upstream)

    def _certificate_of(self, serve: ServeOptions) -> Certificate | None:
        if serve.tls_cert is None or serve.tls_key is None:
            return None
        return Certificate(serve.tls_cert, serve.tls_key, self._server.use)

    def _connections(self, *, proxies: bool) -> Connections:
        # A proxied request needs a connection to upstream as well.
        room, asked = room_for(each=2 if proxies else 1), self.watched.rules.connections.most
        if asked > room:
            _log.warning("the limit of open files leaves room for fewer connections than connections.most", room=room, most=asked)
        return Connections(lambda: self.watched.rules.connections, room=room, is_exempt=self._is_exempt)

    def _is_exempt(self, address: str) -> bool:
        """Whether many clients may share this address: it is a gateway's, or on this machine."""
        return self.watched.rules.trusts(address) or is_loopback(address)


def _collect_rarely() -> None:
    """Everything that is alive now stays, so the garbage collector need not look at it again, and requests leave no cycles behind.

    With its default thresholds, it runs several times per thousand requests, and pauses the process for up to tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _swapped(old: Rules, new: Rules) -> None:
    _log.info("configuration reloaded", config=new.digest, policies=sorted(new.policies))
    if (old.redis_url, old.prefix, old.key_prefix) != (new.redis_url, new.prefix, new.key_prefix):
        _log.warning("changes of redis and credentials.prefix take effect at the next start")


def _refused(error: ConfigError) -> None:
    _log.error("changed configuration rejected, the previous one stays in force", mistakes=[str(each) for each in error.mistakes])


def main() -> None:
    log_format.set_up("text" if sys.argv[3] == "text" else "json", worker=int(sys.argv[2]))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_work(int(sys.argv[1])))
    except (CannotStart, ConfigError) as error:
        _log.error("worker cannot start", reason=str(error))
        sys.exit(1)


async def _work(fd: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    commands = asyncio.StreamReader(limit=_LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    options = WORKER_OPTIONS.validate_json(await commands.readline())
    rules = loads(options.text, str(options.config), has_v1_token=options.has_v1_token)
    worker = Worker(options, rules, socket.socket(fileno=fd))
    await worker.start()
    os.write(sys.stdout.fileno(), b"ready\n")
    while command := await commands.readline():
        if command == b"reload\n":
            worker.reload()
    await worker.stop(worker.drain)


if __name__ == "__main__":
    main()
