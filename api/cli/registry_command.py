"""What all commands on the registry have in common: which Redis, how to print, what an error is told as and which exit code it has.

A command is an async function of the registry and of its own options, that returns what is to be printed.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_type_hints

import typer

from limiter.api.config.loader import load
from limiter.api.identity.registered import known_to
from limiter.api.registry import Conflict, Form, InvalidRecord, Known, Registry, UnknownAccount, UnknownKey
from limiter.api.registry.registry import connected
from limiter.api.registry.views import View
from limiter.api.server.embedded import default_folder, embedded_url
from limiter.errors import InvalidPolicy, LimiterError
from limiter.limits.durations import microseconds

FAILED, MISUSED, UNKNOWN, CONFLICT = 1, 2, 3, 4
_CODES: dict[type[LimiterError], int] = {
    InvalidRecord: MISUSED,
    InvalidPolicy: MISUSED,
    UnknownAccount: UNKNOWN,
    UnknownKey: UNKNOWN,
    Conflict: CONFLICT,
}

RedisUrl = Annotated[str, typer.Option(envvar="LIMITER_REDIS_URL", help="Redis; without it, that of a running `limiter serve`.")]
Data = Annotated[Path | None, typer.Option(help="The data folder of that `limiter serve`, where it was told one.")]
Config = Annotated[
    Path | None, typer.Option(envvar="LIMITER_CONFIG", help="The sidecar's: for its Redis, its prefixes, and the names to use.")
]
Prefix = Annotated[str, typer.Option(envvar="LIMITER_PREFIX", help="What the deployment's keys in Redis begin with; lim unless told.")]
KeyPrefix = Annotated[str, typer.Option(envvar="LIMITER_KEY_PREFIX", help="What new API keys begin with; ff unless told.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True)
class Printed:
    """What a command prints: `view` as JSON, or else the rows in columns under `heads`; `aside` goes to standard error."""

    view: Any
    heads: tuple[str, ...]
    rows: tuple[View, ...] = field(default=())
    aside: str = ""


def command(app: typer.Typer, name: str) -> Callable[[Callable[..., Awaitable[Printed]]], Callable[..., Awaitable[Printed]]]:
    """A decorator: the function as a command of the app, with the options that all of them have."""

    def decorate(function: Callable[..., Awaitable[Printed]]) -> Callable[..., Awaitable[Printed]]:
        def run(*, config: Path | None, redis: str, data: Path | None, prefix: str, key_prefix: str, as_json: bool, **own: Any) -> None:
            rules = load(config) if config else None

            async def work() -> Printed:
                url = redis or (rules and rules.redis_url) or embedded_url(data or default_folder())
                form = Form.from_environment(key_prefix or (rules.key_prefix if rules else "ff"))
                space = prefix or (rules.prefix if rules else "lim")
                async with connected(url) as client:
                    known = partial(known_to, rules) if rules else Known
                    return await function(Registry(client, prefix=space, form=form, known=known, actor=_actor()), **own)

            _show(_told(work, redis), as_json=as_json)

        hints = get_type_hints(function, include_extras=True)
        own = [each.replace(annotation=hints[each.name]) for each in list(inspect.signature(function).parameters.values())[1:]]
        signature = inspect.Signature([*own, *_common()])
        vars(run)["__signature__"] = signature
        run.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()}
        app.command(name, help=function.__doc__)(run)
        return function

    return decorate


def seconds(text: str, what: str) -> float:
    """`0`, `72h`, `7d`, `never`."""
    if text == "never":
        return math.inf
    return 0.0 if text == "0" else microseconds(float(text) if text.replace(".", "", 1).isdigit() else text, what) / 1_000_000


def listed(view: View, name: str, heads: tuple[str, ...]) -> Printed:
    """A page of a list."""
    more = f"There are more: --cursor {view['cursor']}" if view["cursor"] else ""
    return Printed(view, heads, tuple(view[name]), more)


def raw_key() -> str:
    """From standard input: an argument would be in the shell's history and in the list of processes."""
    if sys.stdin.isatty():
        typer.echo("The key, and Enter:", err=True)
    return sys.stdin.readline().rstrip("\r\n")


def _common() -> list[inspect.Parameter]:
    stated: list[tuple[str, Any, Any]] = [
        ("config", Config, None),
        ("redis", RedisUrl, ""),
        ("data", Data, None),
        ("prefix", Prefix, ""),
        ("key_prefix", KeyPrefix, ""),
        ("as_json", Json, False),
    ]
    return [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=hint, default=value) for name, hint, value in stated]


def _told(work: Callable[[], Awaitable[Printed]], redis: str) -> Printed:
    async def done() -> Printed:
        return await work()

    try:
        return asyncio.run(done())
    except LimiterError as error:
        code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), FAILED)
        hint = "" if redis or code != FAILED else "; is `limiter serve` running? Or name a Redis with --redis"
        _fail(f"{error}{hint}", code)
    except ValueError as error:
        # redis-py's, of a URL; a password in it is not repeated.
        _fail(f"--redis: {error}", MISUSED)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(code) from None


def _show(printed: Printed, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(printed.view, ensure_ascii=False))
        return
    if printed.rows:
        cells = [printed.heads, *([_cell(row.get(head)) for head in printed.heads] for row in printed.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    elif isinstance(printed.view, dict) and printed.heads:
        for head in printed.heads:
            typer.echo(f"{head:<12} {_cell(printed.view.get(head))}")
    if printed.aside:
        typer.echo(printed.aside, err=True)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value) or "-"
    return "-" if value in (None, "") else str(value)


def _actor() -> str:
    return f"cli:{os.environ.get('SUDO_USER') or os.environ.get('USER') or os.getuid()}"
