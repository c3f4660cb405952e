"""Commands on the registry. Each is an async function of the registry and its own options, and returns what to print."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import typer

from limiter.api.cli.console import CONFLICT, FAILED, MISUSED, UNKNOWN, Printed, fail, show
from limiter.api.cli.options import Config, Json, parameters_of, redis_url, spread
from limiter.api.config.loader import load
from limiter.api.registry import Catalog, Conflict, InvalidRecord, KeyFormat, Registry, UnknownAccount, UnknownKey, connected
from limiter.api.settings.serve_options import Data, KeyPrefix, Prefix, RedisUrl
from limiter.errors import InvalidPolicy, LimiterError

_CODES: dict[type[LimiterError], int] = {
    InvalidRecord: MISUSED,
    InvalidPolicy: MISUSED,
    UnknownAccount: UNKNOWN,
    UnknownKey: UNKNOWN,
    Conflict: CONFLICT,
}


Command = Callable[..., Awaitable[Printed]]


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """The options that say where the registry is. The decorator adds them to every command."""

    config: Config = None
    redis: RedisUrl = None
    data: Data = None
    prefix: Prefix = None
    key_prefix: KeyPrefix = None

    @asynccontextmanager
    async def registry(self) -> AsyncIterator[Registry]:
        rules = load(self.config) if self.config else None
        key_format = KeyFormat.from_environment(self.key_prefix or (rules.key_prefix if rules else "ff"))
        prefix = self.prefix or (rules.prefix if rules else "lim")
        catalog = rules.catalog if rules else Catalog()
        actor = f"cli:{os.environ.get('SUDO_USER') or os.environ.get('USER') or os.getuid()}"
        try:
            connecting = connected(redis_url(self.redis, rules, self.data))
        except ValueError:
            # The value is not shown: it may contain a password.
            fail("--redis must be a Redis URL such as redis://localhost:6379/0, rediss://host or unix:///path", MISUSED)
        async with connecting as client:
            yield Registry(client, prefix=prefix, key_format=key_format, catalog=lambda: catalog, actor=actor)


def command(app: typer.Typer, name: str) -> Callable[[Command], Command]:
    """Registers the function as a command. Its options are its parameters after the registry, `RegistryOptions` and --json."""

    def decorate(function: Command) -> Command:
        async def work(where: RegistryOptions, own: dict[str, Any]) -> Printed:
            async with where.registry() as registry:
                return await function(registry, **own)

        def run(where: RegistryOptions, *, as_json: Json = False, **own: Any) -> None:
            try:
                printed = asyncio.run(work(where, own))
            except LimiterError as error:
                _fail(error, where)
            show(printed, as_json=as_json)
            _note_unchecked(where, own)

        where, as_json, _ = parameters_of(run)
        _, *own = parameters_of(function)
        app.command(name, help=function.__doc__)(spread(run, [*own, where, as_json]))
        return function

    return decorate


def _note_unchecked(where: RegistryOptions, own: dict[str, Any]) -> None:
    names = " and ".join(f"{what} {own[what]}" for what in ("tier", "policy") if own.get(what) is not None)
    if names and where.config is None:
        typer.echo(f"Not checked: {names}. With --config or LIMITER_CONFIG, names that the configuration lacks are refused.", err=True)


def _fail(error: LimiterError, where: RegistryOptions) -> NoReturn:
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), FAILED)
    hint = "" if where.redis or code != FAILED else "; is `limiter serve` running? To use another Redis, set --redis"
    fail(f"{str(error).removesuffix('.')}{hint}", code)
