"""Options that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from limiter.api.rules import Rules
from limiter.api.server.embedded import default_folder, embedded_url
from limiter.limits.durations import microseconds


def repeatable(name: str, help_text: str) -> Any:
    return typer.Option(name, default_factory=list, show_default=False, help=f"{help_text} Repeat the option for several.")


Config = Annotated[Path | None, typer.Option(envvar="LIMITER_CONFIG", help="The sidecar's configuration file.")]
RedisUrl = Annotated[
    str | None,
    typer.Option(envvar="LIMITER_REDIS_URL", help="URL of Redis. Default: the configuration's redis.url, or the sidecar's embedded Redis."),
]
Data = Annotated[Path | None, typer.Option(help="The sidecar's data folder. Default: $XDG_DATA_HOME/limiter or ~/.local/share/limiter.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

AccountId = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's id.")]
Tier = Annotated[str | None, typer.Option(help="A tier of the configuration.")]
PolicyName = Annotated[str | None, typer.Option("--policy", help="A policy of the configuration, instead of the tier's.")]
Limits = Annotated[list[str], repeatable("--limit", "A limit such as '100/minute', instead of the tier's policy.")]
Cursor = Annotated[str, typer.Option(help="Continue a list: the cursor that the previous page printed.", show_default=False)]
Count = Annotated[int, typer.Option(help="Entries per page.")]


def redis_url(option: str | None, rules: Rules | None, data: Path | None) -> str:
    """The Redis that a command uses: the option's, the configuration's, or the embedded one of the data folder."""
    return option or (rules and rules.redis_url) or embedded_url(data or default_folder())


def seconds(text: str, what: str) -> float:
    """A duration such as `0`, `72h` or `7d`, or `never`."""
    if text == "never":
        return math.inf
    return 0.0 if text == "0" else microseconds(float(text) if text.replace(".", "", 1).isdigit() else text, what) / 1_000_000


def cleared(names: list[str], known: set[str]) -> list[str]:
    """The values of --clear, each one of `known`."""
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"--clear must be one of {', '.join(sorted(known))}, not {name!r}")
    return names
