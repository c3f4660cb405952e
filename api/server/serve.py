"""The life of `limiter serve`: what is started, in which order, what signals do, and how all of it is stopped.

SIGHUP            the configuration is read again, by every worker
SIGTERM, SIGINT   graceful stop: requests under way are finished, new ones refused; a second one ends everything at once
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import structlog
import uvloop
from starlette.types import ASGIApp

from limiter.aio import AsyncLimiter
from limiter.api.config.file import load
from limiter.api.config.sample import Sample, sample
from limiter.api.control.admin import Control, admin_app
from limiter.api.control.registry_routes import registry_router
from limiter.api.failures import Misused
from limiter.api.identity.registered import known_to
from limiter.api.proxy.upstream import Address
from limiter.api.registry import Form, InvalidRecord, Registry
from limiter.api.registry.registry import connected
from limiter.api.rules import Rules
from limiter.api.server import logs
from limiter.api.server.embedded import default_folder
from limiter.api.server.engine import Engine, engine
from limiter.api.server.listening import Listening, bind, config_for, url_of
from limiter.api.server.reload import Watched
from limiter.api.server.worker import Task, Worker
from limiter.api.server.workers import Workers

_log = structlog.get_logger("limiter.serve")


@dataclass(frozen=True, slots=True)
class Options:
    """As on the command line."""

    config: Path | None = None
    redis: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    admin_host: str = "127.0.0.1"
    admin_port: int = 8081
    admin_token: str | None = field(default=None, repr=False)
    upstream: str | None = None
    workers: int = 1
    tls_cert: Path | None = None
    tls_key: Path | None = None
    data: Path = field(default_factory=default_folder)
    access_log: bool = False


def serve(options: Options) -> None:
    """Until a signal ends it. CannotStart and ConfigError say why it could not begin."""
    logs.set_up()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_life(options))


async def _life(options: Options) -> None:
    trying = None if options.config else sample(options.data)
    path = options.config or (trying.config if trying else Path())
    rules = load(path)
    _check(options)
    listener, admin_listener = bind(options.host, options.port, "--port"), bind(options.admin_host, options.admin_port, "--admin-port")
    front_url, admin_url = url_of(listener, tls=options.tls_cert is not None), url_of(admin_listener)
    form = _form(rules)
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(engine(options.redis or rules.redis_url, options.data))
        task = _task(options, path, redis, rules)
        front: Front = Worker(task, rules, listener) if options.workers == 1 else Workers(task, rules, listener, options.workers)
        signals = Signals(front)
        token = options.admin_token or secrets.token_urlsafe(24)
        control = Control(front.watched, front.limiter, _readiness(redis, front, signals), front_url, version("limitgate"))
        registry = Registry(
            await stack.enter_async_context(connected(redis.url)),
            prefix=rules.prefix,
            form=form,
            known=lambda: known_to(front.watched.rules),
            actor="admin",
        )
        # Stopped in the opposite order: the front first, so that admin can tell of it, and Redis last.
        await stack.enter_async_context(_listening(admin_app(control, token, [registry_router(registry)]), admin_listener))
        await stack.enter_async_context(_running(front))
        _log.info(
            "limiter serves",
            front=front_url,
            admin=admin_url,
            upstream=options.upstream,
            workers=options.workers,
            redis={"where": redis.where, "version": redis.version},
            policies=sorted(rules.policies),
            config={"file": str(path), "digest": rules.digest},
        )
        for warning in rules.warnings:
            _log.warning(warning)
        _invite(trying, front_url, admin_url, None if options.admin_token else token)
        signals.ready = True
        await signals.stopping.wait()
        _log.info("stopping: requests under way are finished, new ones refused")
    _log.info("stopped")


class Front(Protocol):
    """One worker in this process, or several beside it."""

    watched: Watched
    limiter: AsyncLimiter

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def reload(self) -> None: ...


class Signals:
    def __init__(self, front: Front) -> None:
        self.ready, self.stopping = False, asyncio.Event()
        self._main = asyncio.current_task()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, front.reload)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)

    def _stop(self) -> None:
        if not self.stopping.is_set():
            self.stopping.set()
        elif self._main is not None:
            _log.warning("stopping at once, as told twice")
            self._main.cancel()


def _readiness(redis: Engine, front: Front, signals: Signals) -> Callable[[], Awaitable[str | None]]:
    async def trouble() -> str | None:
        if signals.stopping.is_set():
            return "This is being stopped."
        if not signals.ready:
            return "This is starting."
        within = max(0.25, front.watched.rules.deadline)
        return None if await redis.answers(within) else f"Redis does not answer ({redis.where})."

    return trouble


@asynccontextmanager
async def _running(front: Front) -> AsyncIterator[None]:
    try:
        await front.start()
        yield
    finally:
        await front.stop()


@asynccontextmanager
async def _listening(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    server = Listening(config_for(app), listener)
    await server.start()
    try:
        yield
    finally:
        await server.stop(1)


def _check(options: Options) -> None:
    """What would otherwise show only in the middle of the start."""
    try:
        Address.parse(options.upstream or "http://localhost")
    except ValueError as error:
        raise Misused(f"--upstream {options.upstream}: {error}") from None
    if (options.tls_cert is None) != (options.tls_key is None):
        raise Misused("--tls-cert and --tls-key go together")


def _form(rules: Rules) -> Form:
    try:
        return Form.from_environment(rules.key_prefix)
    except InvalidRecord as error:
        raise Misused(f"LIMITER_PEPPER: {error}") from None


def _task(options: Options, path: Path, redis: Engine, rules: Rules) -> Task:
    return Task(
        config=str(path),
        redis=redis.url,
        prefix=rules.prefix,
        key_prefix=rules.key_prefix,
        upstream=options.upstream,
        tls_cert=str(options.tls_cert) if options.tls_cert else None,
        tls_key=str(options.tls_key) if options.tls_key else None,
        access_log=options.access_log,
    )


def _invite(trying: Sample | None, front: str, admin: str, made_token: str | None) -> None:
    """What a person at a terminal needs next. The one place where a key and the token are shown, and never in a log."""
    lines = []
    if made_token:
        lines.append(f"Admin token of this run: {made_token}  (set LIMITER_ADMIN_TOKEN to have one that stays)")
    if trying:
        lines.append(f"No --config, so a sample is served: {trying.config}; edit it while this runs.")
        lines.append(f'Try it:  curl -i -H "Authorization: Bearer {trying.key}" {front}/authorize')
    lines.append(f"Health:  curl {admin}/readyz")
    lines.append(f"API documentation, for browsers: {admin}/docs")
    print(*lines, sep="\n", flush=True)  # noqa: T201 - to a person
