"""`limiter serve`: starts everything in order, handles signals, and stops everything in reverse.

SIGHUP            reloads the configuration in every worker
SIGTERM, SIGINT   stops gracefully: finishes the requests in flight and refuses new ones; a second signal stops at once
"""

import asyncio
import os
import shlex
import signal
import socket
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

import structlog
import uvloop
from fastapi import APIRouter

from limiter.api.callers.bearer_token import Tokens
from limiter.api.callers.host_header import AllowedHosts
from limiter.api.command_errors import Misused
from limiter.api.config.loader import load
from limiter.api.control.admin import admin_app
from limiter.api.control.admin_token import AdminToken, own_admin_token
from limiter.api.control.configuration_routes import configuration_router
from limiter.api.control.counter_routes import counter_router
from limiter.api.control.health_routes import Readiness, health_router
from limiter.api.control.registry_routes import registry_router
from limiter.api.data_folder import data_folder
from limiter.api.proxy.upstream import Address
from limiter.api.registry import InvalidRecord, KeyFormat, Registry, connected
from limiter.api.rules import Rules
from limiter.api.server import logs
from limiter.api.server.backend import Backend, open_backend
from limiter.api.server.client_connections import raise_descriptor_limit
from limiter.api.server.listening import Listening, bind, config_for, http_url
from limiter.api.server.sample import Sample, sample
from limiter.api.server.serve_options import ServeOptions
from limiter.api.server.worker import Worker, WorkerOptions
from limiter.api.server.workers import Workers

_log = structlog.get_logger("limiter.serve")

_RELEASE = version("limitgate")
_STDOUT = 1


# The front, in this process or in several.
DataPlane = Worker | Workers


def serve(options: ServeOptions, tokens: Tokens) -> None:
    """Runs until a signal stops it. Raises CannotStart or ConfigError if it cannot start."""
    logs.set_up()
    # Files of this process and of the embedded Redis are for this user alone.
    os.umask(0o077)
    raise_descriptor_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options, tokens))


async def _serve(options: ServeOptions, tokens: Tokens) -> None:
    hosts = AllowedHosts(options.allowed_host)
    trial = None if options.config else sample(data_folder(options.data))
    path = options.config or (trial.config if trial else Path())
    rules = load(path, has_v1_token=options.can_require(tokens.v1))
    _check(options)
    listener, admin_listener = bind(options.host, options.port, "--port"), bind(options.admin_host, options.admin_port, "--admin-port")
    front_url, admin_url = http_url(listener, tls=options.tls_cert is not None), http_url(admin_listener)
    key_format = _key_format(rules)
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(open_backend(options.redis or rules.redis_url, options.data, rules.prefix))
        front = _data_plane(options, path, backend, rules, listener, tokens)
        client = await stack.enter_async_context(connected(backend.url))
        registry = Registry(client, prefix=rules.prefix, key_format=key_format, catalog=lambda: front.watched.rules.catalog, actor="admin")
        signals = Signals(front)
        admin_token = AdminToken(tokens.admin) if tokens.admin else own_admin_token(options.data)
        guarded = _guarded_routes(front, registry, front_url)
        app = admin_app(_RELEASE, admin_token.text, hosts, health_router(_readiness(backend, front, signals)), guarded)
        admin = Listening(config_for(app), admin_listener)
        # The stack unwinds in reverse: the front stops first, while admin still reports it, and Redis last.
        await admin.start()
        stack.push_async_callback(admin.stop, 1)
        stack.push_async_callback(front.stop)
        await front.start()
        _log_start(options, path, backend, rules, front_url, admin_url)
        _log_tokens(options, rules, tokens, admin_token)
        greet(trial, front_url, admin_url, admin_token)
        signals.ready = True
        await signals.stopping.wait()
        _log.info("stopping: finishing the requests in flight")
    _log.info("stopped")


def _data_plane(options: ServeOptions, path: Path, backend: Backend, rules: Rules, listener: socket.socket, tokens: Tokens) -> DataPlane:
    worker_options = WorkerOptions(options, path, backend.url, rules.prefix, rules.key_prefix, tokens.v1)
    if options.workers == 1:
        return Worker(worker_options, rules, listener)
    return Workers(worker_options, rules, listener, options.workers)


def _guarded_routes(front: DataPlane, registry: Registry, front_url: str) -> list[APIRouter]:
    return [
        configuration_router(front.watched, front_url, _RELEASE),
        counter_router(front.watched, front.limiter),
        registry_router(registry),
    ]


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
        failure = await backend.failure(within)
        return None if failure is None else f"Redis makes no decisions ({backend.where}): {failure}"

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


def _log_tokens(options: ServeOptions, rules: Rules, tokens: Tokens, admin_token: AdminToken) -> None:
    if tokens.v1 is not None and rules.v1 != "token" and options.upstream is None:
        _log.warning("the token for /v1 is not required, because the configuration does not have v1: token", v1=rules.v1)
    if admin_token.is_weak:
        _log.warning("the admin token is short enough to be guessed: set one of 16 or more random characters")


def greet(trial: Sample | None, front: str, admin: str, token: AdminToken) -> None:
    """Tells the person who started it what to do next. What is not a terminal may store it like a log, so it gets the names of files."""
    for_a_person = os.isatty(_STDOUT)
    lines = []
    if token.kept_in is not None:
        shown = f"{token.text}  (kept in {token.kept_in})" if for_a_person else f"in the file {token.kept_in}"
        lines.append(f"Admin token: {shown}")
    elif token.is_own and for_a_person:
        lines.append(f"Admin token of this run: {token.text}")
    if trial:
        key = trial.key if for_a_person else f"$(cat {shlex.quote(str(trial.key_file))})"
        lines.append(f"Serving a sample configuration, because --config is not set: {trial.config}  (changes to it apply at once)")
        lines.append(f'Try it:  curl -i -H "Authorization: Bearer {key}" {front}/authorize')
    lines.append(f"Health:  curl {admin}/readyz")
    lines.append(f"API documentation, for browsers: {admin}/docs")
    print(*lines, sep="\n", flush=True)  # noqa: T201 - for a person, not a log
