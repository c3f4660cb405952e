"""`limiter usage` and `limiter reset`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from limiter import Limiter, Policy
from limiter.api.cli.options import Config, Json, redis_url, spread
from limiter.api.command_errors import CannotStart, Misused
from limiter.api.config.loader import load
from limiter.api.data_folder import data_folder
from limiter.api.settings.serve_options import Data, Prefix, RedisUrl
from limiter.api.v1.bodies import render_limit
from limiter.summary import whole_seconds

counts = typer.Typer()

# A person waits longer than a request.
_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class Counters:
    """The options that say which counters are meant."""

    policy: Annotated[str, typer.Option("--policy", help="A policy of the configuration.")]
    subject: Annotated[str, typer.Option(help="The subject: the name of a key, an account or an address.")]
    account: Annotated[str | None, typer.Option(help="The account of the subject. Default: the subject itself.")] = None
    config: Config = None
    redis: RedisUrl = None
    data: Data = None
    prefix: Prefix = None

    @contextmanager
    def limiter(self) -> Iterator[tuple[Limiter, Policy]]:
        file = self.config or self._sample()
        rules = load(file)
        if self.policy not in rules.countable:
            names = ", ".join(sorted(rules.countable))
            raise Misused(f"--policy must be one of {names}, not {self.policy!r}: {file} defines them, set --config to use another file")
        with Limiter(redis_url(self.redis, rules, self.data), prefix=self.prefix or rules.prefix, deadline=_DEADLINE_S) as limiter:
            yield limiter, rules.countable[self.policy]

    def _sample(self) -> Path:
        file = data_folder(self.data) / "limiter.yaml"
        if not file.exists():
            raise Misused(f"the sidecar's configuration must be set with --config or LIMITER_CONFIG: there is no sample at {file}")
        return file


@counts.command()
@spread
def usage(of: Counters, *, as_json: Json = False) -> None:
    """Show what is left of each limit of a policy. Without --config, limiter.yaml in the data folder is used."""
    with of.limiter() as (limiter, policy):
        decision = limiter.peek(policy, of.subject, account=of.account)
    if decision.degraded:
        raise CannotStart(decision.degraded)
    if as_json:
        typer.echo(json.dumps([render_limit(state) for state in decision.limits]))
        return
    for state in decision.limits:
        left = f"{state.name}: {state.remaining:,} of {state.capacity:,} left"
        typer.echo(f"{left}, full again in {whole_seconds(state.reset_us)} s" if state.used else left)
    if not any(state.used for state in decision.limits):
        typer.echo(
            f"Nothing is counted for {of.subject} under {of.policy}. If you expected counts, check --subject and --account.", err=True
        )


@counts.command()
@spread
def reset(of: Counters, *, as_json: Json = False) -> None:
    """Reset the counts of a subject under a policy. Without --config, limiter.yaml in the data folder is used."""
    with of.limiter() as (limiter, policy):
        limiter.reset(policy, of.subject, account=of.account)
    done = json.dumps({"reset": {"policy": of.policy, "subject": of.subject}})
    typer.echo(done if as_json else f"policy {of.policy} was reset for {of.subject}")
