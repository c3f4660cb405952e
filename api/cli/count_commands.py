"""`limiter usage` and `limiter reset`: how limits stand, and to forget what was counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from limiter import Limiter, LimitState, Policy
from limiter.api.command_errors import CannotStart, Misused
from limiter.api.config.loader import load
from limiter.api.server.embedded import default_folder, embedded_url
from limiter.api.v1.bodies import limit_told

counts = typer.Typer()

# A person waits longer than a request does.
_DEADLINE_S = 5.0

PolicyName = Annotated[str, typer.Option("--policy", help="A policy of the configuration.")]
Subject = Annotated[str, typer.Option(help="Whom it is applied to: a key's name, an account, an address.")]
Account = Annotated[str | None, typer.Option(help="Whose counts they are; the subject itself, unless said.")]
Config = Annotated[Path | None, typer.Option(help="The configuration; without one, that of the data folder.")]
RedisUrl = Annotated[str | None, typer.Option("--redis", envvar="LIMITER_REDIS_URL", help="Without one, our own of the data folder.")]
Data = Annotated[Path | None, typer.Option(help="Where our own Redis keeps its data.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


@counts.command()
def usage(
    policy: PolicyName,
    subject: Subject,
    account: Account = None,
    config: Config = None,
    redis: RedisUrl = None,
    data: Data = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show how each limit of a policy stands for a subject."""
    with _limiter(policy, config, redis, data) as (limiter, found):
        decision = limiter.peek(found, subject, 0, account=account)
    if decision.degraded:
        raise CannotStart(decision.degraded)
    states = decision.limits
    if as_json:
        typer.echo(json.dumps([limit_told(state) for state in states]))
        return
    for state in states:
        typer.echo(_line(state))


@counts.command()
def reset(
    policy: PolicyName,
    subject: Subject,
    account: Account = None,
    config: Config = None,
    redis: RedisUrl = None,
    data: Data = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Forget all that was counted for a subject under a policy."""
    with _limiter(policy, config, redis, data) as (limiter, found):
        limiter.reset(found, subject, account=account)
    typer.echo(json.dumps({"reset": {"policy": policy, "subject": subject}}) if as_json else f"{policy} of {subject} begins anew")


@contextmanager
def _limiter(policy: str, config: Path | None, redis: str | None, data: Path | None) -> Iterator[tuple[Limiter, Policy]]:
    folder = data or default_folder()
    rules = load(config or folder / "limiter.yaml")
    if policy not in rules.policies:
        raise Misused(f"there is no policy {policy!r}; there is {', '.join(sorted(rules.policies))}")
    with Limiter(redis or rules.redis_url or embedded_url(folder), prefix=rules.prefix, deadline=_DEADLINE_S) as limiter:
        yield limiter, rules.policies[policy]


def _line(state: LimitState) -> str:
    left = f"{state.name}: {state.remaining:,} of {state.capacity:,} left"
    return f"{left}, all in {state.reset_after:.0f} s" if state.used else left
