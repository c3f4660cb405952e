"""`limiter serve`: starts everything in order, handles signals, and stops everything in reverse.

SIGHUP            reloads the configuration in every worker
SIGTERM, SIGINT   stops in the steps of `stopping.py`; a second signal stops at once
"""

import asyncio
import os
import socket
import sys
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

import structlog
import uvloop
from fastapi import APIRouter

from limiter.api.callers.bearer_token import Tokens
from limiter.api.callers.host_header import AllowedHosts
from limiter.api.command_errors import Misused
from limiter.api.config.loader import loads, text_of
from limiter.api.control.admin import admin_app
from limiter.api.control.admin_token import AdminToken, own_admin_token
from limiter.api.control.configuration_routes import configuration_router
from limiter.api.control.counter_routes import counter_router
from limiter.api.control.health_routes import Readiness, health_router
from limiter.api.control.registry_routes import registry_router
from limiter.api.data_folder import data_folder
from limiter.api.forwarded import NO_GATEWAY
from limiter.api.proxy.upstream import Address
from limiter.api.registry import InvalidRecord, KeyFormat, Registry, connected
from limiter.api.rules import Rules
from limiter.api.server.backend import Backend, open_backend
from limiter.api.server.certificates import context_of
from limiter.api.server.client_connections import raise_descriptor_limit
from limiter.api.server.listening import Listening, bind, config_for, http_url
from limiter.api.server.stopping import Signals, shutdown_of
from limiter.api.server.worker import Worker, WorkerOptions
from limiter.api.server.workers import Workers
from limiter.api.settings.serve_options import ServeOptions
from limiter.api.welcome.greeting import first_steps, greet
from limiter.api.welcome.sample import sample

_log = structlog.get_logger("limiter.serve")

_RELEASE = version("limitgate")

# The front, in this process or in several.
DataPlane = Worker | Workers


def serve(options: ServeOptions, tokens: Tokens) -> None:
    """Runs until a signal stops it. Raises CannotStart or ConfigError if it cannot start."""
    # Files of this process and of the embedded Redis are for this user alone.
    os.umask(0o077)
    raise_descriptor_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_serve(options, tokens))
        except asyncio.CancelledError:
            # The second signal. Requests may have been cut off.
            sys.exit(1)


async def _serve(options: ServeOptions, tokens: Tokens) -> None:
    hosts = AllowedHosts(options.allowed_host)
    trial = None if options.config else sample(data_folder(options.data))
    path = options.config or (trial.config if trial else Path())
    text = text_of(path)
    rules = loads(text, str(path), has_v1_token=options.can_require(tokens.v1))
    _check(options)
    listener, admin_listener = bind(options.host, options.port, "--port"), bind(options.admin_host, options.admin_port, "--admin-port")
    front_url, admin_url = http_url(listener, tls=options.tls_cert is not None), http_url(admin_listener)
    prefix, key_format = options.prefix or rules.prefix, _key_format(options.key_prefix or rules.key_prefix)
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(open_backend(options.redis or rules.redis_url, options.data, prefix))
        worker_options = WorkerOptions(options, path, text, backend.url, prefix, key_format.prefix, key_format.pepper.decode(), tokens.v1)
        front = _data_plane(worker_options, rules, listener)
        client = await stack.enter_async_context(connected(backend.url))
        registry = Registry(client, prefix=prefix, key_format=key_format, catalog=lambda: front.watched.rules.catalog, actor="admin")
        signals = Signals(front.reload)
        admin_token = AdminToken(tokens.admin) if tokens.admin else own_admin_token(options.data)
        guarded = _guarded_routes(front, registry, front_url)
        app = admin_app(_RELEASE, admin_token.text, hosts, health_router(_readiness(backend, front, signals)), guarded)
        admin = Listening(config_for(app), admin_listener)
        # The stack unwinds in reverse: the front stops first, while admin still reports it, and Redis last.
        await admin.start()
        stack.push_async_callback(admin.stop, 1)
        stack.push_async_callback(_stop, front, signals)
        await front.start()
        _log_start(options, path, backend, rules, front_url, admin_url)
        _log_tokens(options, rules, tokens, admin_token)
        steps = first_steps(rules, trial, front_url, path, proxies=options.upstream is not None)
        greet(steps, trial, admin_url, admin_token)
        signals.ready = True
        await signals.wait(lambda: shutdown_of(options, front.watched.rules).delay)
        _log.info("stopping: finishing the requests in flight", drain_time=front.drain)
    _log.info("stopped")


def _data_plane(options: WorkerOptions, rules: Rules, listener: socket.socket) -> DataPlane:
    workers = options.serve.workers
    return Worker(options, rules, listener) if workers == 1 else Workers(options, rules, listener, workers)


async def _stop(front: DataPlane, signals: Signals) -> None:
    await front.stop(0.0 if signals.is_urgent else front.drain)


def _guarded_routes(front: DataPlane, registry: Registry, front_url: str) -> list[APIRouter]:
    return [
        configuration_router(front.watched, front_url, _RELEASE),
        counter_router(front.watched, front.limiter),
        registry_router(registry),
    ]


def _readiness(backend: Backend, front: DataPlane, signals: Signals) -> Readiness:
    async def reason_not_ready() -> str | None:
        if signals.are_stopping:
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
    if options.tls_cert is not None and options.tls_key is not None:
        context_of(options.tls_cert, options.tls_key)


def _key_format(key_prefix: str) -> KeyFormat:
    try:
        return KeyFormat.from_environment(key_prefix)
    except InvalidRecord as error:
        raise Misused(str(error)) from None


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
    if options.upstream is not None and rules.gateway is not NO_GATEWAY:
        _log.warning("identify.gateway has no effect with --upstream: set it to none, or remove --upstream if a gateway asks /authorize")


def _log_tokens(options: ServeOptions, rules: Rules, tokens: Tokens, admin_token: AdminToken) -> None:
    if tokens.v1 is not None and rules.v1 != "token" and options.upstream is None:
        _log.warning("the token for /v1 is not required, because the configuration does not have v1: token", v1=rules.v1)
    if admin_token.is_weak:
        _log.warning("the admin token is short enough to be guessed: set one of 16 or more random characters")
