"""`limiter usage` and `limiter reset`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from limiter import Limiter, LimitState, Policy
from limiter.api.cli.options import Config, Data, Json, RedisUrl, redis_url
from limiter.api.command_errors import CannotStart, Misused
from limiter.api.config.loader import load
from limiter.api.server.embedded import default_folder
from limiter.api.v1.bodies import render_limit
from limiter.summary import whole_seconds

counts = typer.Typer()

# A person waits longer than a request.
_DEADLINE_S = 5.0

PolicyName = Annotated[str, typer.Option("--policy", help="A policy of the configuration.")]
Subject = Annotated[str, typer.Option(help="The subject: the name of a key, an account or an address.")]
Account = Annotated[str | None, typer.Option(help="The account of the subject. Default: the subject itself.")]


@counts.command()
def usage(
    policy: PolicyName,
    subject: Subject,
    account: Account = None,
    config: Config = None,
    redis: RedisUrl = None,
    data: Data = None,
    *,
    as_json: Json = False,
) -> None:
    """Show what is left of each limit of a policy. Without --config, limiter.yaml in the data folder is used."""
    with _limiter(policy, config, redis, data) as (limiter, found):
        decision = limiter.peek(found, subject, account=account)
    if decision.degraded:
        raise CannotStart(decision.degraded)
    states = decision.limits
    if as_json:
        typer.echo(json.dumps([render_limit(state) for state in states]))
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
    as_json: Json = False,
) -> None:
    """Reset the counts of a subject under a policy. Without --config, limiter.yaml in the data folder is used."""
    with _limiter(policy, config, redis, data) as (limiter, found):
        limiter.reset(found, subject, account=account)
    typer.echo(json.dumps({"reset": {"policy": policy, "subject": subject}}) if as_json else f"policy {policy} was reset for {subject}")


@contextmanager
def _limiter(policy: str, config: Path | None, redis: str | None, data: Path | None) -> Iterator[tuple[Limiter, Policy]]:
    rules = load(config or (data or default_folder()) / "limiter.yaml")
    if policy not in rules.policies:
        raise Misused(f"--policy must be one of {', '.join(sorted(rules.policies))}, not {policy!r}")
    with Limiter(redis_url(redis, rules, data), prefix=rules.prefix, deadline=_DEADLINE_S) as limiter:
        yield limiter, rules.policies[policy]


def _line(state: LimitState) -> str:
    left = f"{state.name}: {state.remaining:,} of {state.capacity:,} left"
    return f"{left}, full again in {whole_seconds(state.reset_us)} s" if state.used else left
