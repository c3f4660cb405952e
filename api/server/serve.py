"""`limiter serve`: starts everything in order, handles signals, and stops everything in reverse.

SIGHUP            reloads the configuration in every worker
SIGTERM, SIGINT   stops gracefully: finishes the requests in flight and refuses new ones; a second signal stops at once
"""

import asyncio
import secrets
import signal
import socket
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

import structlog
import uvloop
from starlette.types import ASGIApp

from limiter.api.command_errors import Misused
from limiter.api.config.loader import load
from limiter.api.control.admin import admin_app
from limiter.api.control.configuration_routes import configuration_router
from limiter.api.control.counter_routes import counter_router
from limiter.api.control.health_routes import Readiness, health_router
from limiter.api.control.registry_routes import registry_router
from limiter.api.proxy.upstream import Address
from limiter.api.registry import InvalidRecord, KeyFormat, Registry, connected
from limiter.api.rules import Rules
from limiter.api.server import logs
from limiter.api.server.backend import Backend, open_backend
from limiter.api.server.client_connections import raise_descriptor_limit
from limiter.api.server.embedded import default_folder
from limiter.api.server.listening import Listening, bind, config_for, http_url
from limiter.api.server.sample import Sample, sample
from limiter.api.server.serve_options import ServeOptions
from limiter.api.server.worker import Worker, WorkerOptions
from limiter.api.server.workers import Workers

_log = structlog.get_logger("limiter.serve")


# The front, in this process or in several.
DataPlane = Worker | Workers


def serve(options: ServeOptions, admin_token: str | None) -> None:
    """Runs until a signal stops it. Raises CannotStart or ConfigError if it cannot start."""
    logs.set_up()
    raise_descriptor_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options, admin_token))


async def _serve(options: ServeOptions, admin_token: str | None) -> None:
    folder = options.data or default_folder()
    trial = None if options.config else sample(folder)
    path = options.config or (trial.config if trial else Path())
    rules = load(path)
    _check(options)
    listener, admin_listener = bind(options.host, options.port, "--port"), bind(options.admin_host, options.admin_port, "--admin-port")
    front_url, admin_url = http_url(listener, tls=options.tls_cert is not None), http_url(admin_listener)
    key_format = _key_format(rules)
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(open_backend(options.redis or rules.redis_url, folder))
        front = _data_plane(options, path, backend, rules, listener)
        client = await stack.enter_async_context(connected(backend.url))
        registry = Registry(client, prefix=rules.prefix, key_format=key_format, catalog=lambda: front.watched.rules.catalog, actor="admin")
        signals = Signals(front)
        token = admin_token or secrets.token_urlsafe(24)
        app = _admin_app(front, registry, _readiness(backend, front, signals), front_url, token)
        admin = Listening(config_for(app), admin_listener)
        # The stack unwinds in reverse: the front stops first, while admin still reports it, and Redis last.
        await admin.start()
        stack.push_async_callback(admin.stop, 1)
        stack.push_async_callback(front.stop)
        await front.start()
        _log_start(options, path, backend, rules, front_url, admin_url)
        _greet(trial, front_url, admin_url, None if admin_token else token)
        signals.ready = True
        await signals.stopping.wait()
        _log.info("stopping: finishing the requests in flight")
    _log.info("stopped")


def _data_plane(options: ServeOptions, path: Path, backend: Backend, rules: Rules, listener: socket.socket) -> DataPlane:
    worker_options = WorkerOptions(options, config=path, redis=backend.url, prefix=rules.prefix, key_prefix=rules.key_prefix)
    if options.workers == 1:
        return Worker(worker_options, rules, listener)
    return Workers(worker_options, rules, listener, options.workers)


def _admin_app(front: DataPlane, registry: Registry, readiness: Readiness, front_url: str, token: str) -> ASGIApp:
    release = version("limitgate")
    guarded = [
        configuration_router(front.watched, front_url, release),
        counter_router(front.watched, front.limiter),
        registry_router(registry),
    ]
    return admin_app(release, token, health_router(readiness), guarded)


class Signals:
    def __init__(self, front: DataPlane) -> None:
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
            _log.warning("second signal: stopping at once")
            self._main.cancel()


def _readiness(backend: Backend, front: DataPlane, signals: Signals) -> Readiness:
    async def reason_not_ready() -> str | None:
        if signals.stopping.is_set():
            return "The sidecar is stopping."
        if not signals.ready:
            return "The sidecar is starting."
        within = max(0.25, front.watched.rules.deadline)
        return None if await backend.answers(within) else f"Redis does not answer ({backend.where})."

    return reason_not_ready


def _check(options: ServeOptions) -> None:
    """Reports invalid options before anything is started."""
    try:
        Address.parse(options.upstream or "http://localhost")
    except ValueError as error:
        raise Misused(f"--{error}") from None
    if (options.tls_cert is None) != (options.tls_key is None):
        raise Misused("--tls-cert and --tls-key must be set together")


def _key_format(rules: Rules) -> KeyFormat:
    try:
        return KeyFormat.from_environment(rules.key_prefix)
    except InvalidRecord as error:
        raise Misused(f"LIMITER_PEPPER: {error}") from None


def _log_start(options: ServeOptions, path: Path, backend: Backend, rules: Rules, front: str, admin: str) -> None:
    _log.info(
        "serving",
        front=front,
        admin=admin,
        upstream=options.upstream,
        workers=options.workers,
        redis={"where": backend.where, "version": backend.version},
        policies=sorted(rules.policies),
        config={"file": str(path), "digest": rules.digest},
    )
    for warning in rules.warnings:
        _log.warning(warning)


def _greet(trial: Sample | None, front: str, admin: str, new_token: str | None) -> None:
    """Tells the person at the terminal what to do next. This is the only output with a key or a token, and it is not a log."""
    lines = []
    if new_token:
        lines.append(f"Admin token of this run: {new_token}  (set LIMITER_ADMIN_TOKEN for a permanent one)")
    if trial:
        lines.append(f"Serving a sample configuration, because --config is not set: {trial.config}  (changes to it apply at once)")
        lines.append(f'Try it:  curl -i -H "Authorization: Bearer {trial.key}" {front}/authorize')
    lines.append(f"Health:  curl {admin}/readyz")
    lines.append(f"API documentation, for browsers: {admin}/docs")
    print(*lines, sep="\n", flush=True)  # noqa: T201 - for a person, not a log
