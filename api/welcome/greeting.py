"""What `limiter serve` prints at its start, for the person who started it: what to do next.

Standard output that is not a terminal may be stored like a log, so it gets the names of files instead of secrets.
"""

import hashlib
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from limiter.api.control.admin_token import AdminToken
from limiter.api.rules import Rules
from limiter.api.welcome.sample import Sample
from limiter.denials import TOO_MANY_REQUESTS
from limiter.limits import Limit
from limiter.policy import Policy

_STDOUT = 1
# The most requests that a printed command sends.
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Steps:
    """How to reach the first 429: requests to `url` until `limit` denies one. `tier` is that of a key to create, where callers need one."""

    url: str
    config: Path
    limit: Limit | None = None
    tier: str | None = None


def first_steps(rules: Rules, trial: Sample | None, front: str, config: Path, *, proxies: bool) -> Steps:
    if front.startswith("https:") or proxies:
        return Steps(front, config)
    limit = _limit_of(rules, rules.anonymous if trial is None else _policy_of(trial, rules))
    tier = next(iter(rules.tiers), None) if limit is None else None
    return Steps(f"{front}/authorize", config, limit, tier)


def greet(steps: Steps, trial: Sample | None, admin: str, token: AdminToken) -> None:
    for_a_person = os.isatty(_STDOUT)
    lines = [*_about_token(token, for_a_person=for_a_person)]
    if trial:
        lines += ["Serving a sample configuration, because --config is not set. You can edit it:", f"  {trial.config}"]
    if steps.limit is not None:
        lines += _until_denied(steps.url, _credential(trial, for_a_person=for_a_person), steps.limit)
    elif steps.tier is not None:
        options = f"--config {shlex.quote(str(steps.config))}"
        lines.append(f"Make a key:  limiter accounts create demo {steps.tier} {options} && limiter keys issue demo {options}")
    lines.append(f"Health:  curl {admin}/readyz")
    lines.append(f"API documentation, for browsers: {admin}/docs")
    print(*lines, sep="\n", flush=True)  # noqa: T201 - for a person, not a log


def _about_token(token: AdminToken, *, for_a_person: bool) -> list[str]:
    if token.kept_in is not None:
        if for_a_person:
            return [f"Admin token: {token.text}", f"  kept in {token.kept_in}"]
        return [f"Admin token: in the file {token.kept_in}"]
    return [f"Admin token of this run: {token.text}"] if token.is_own and for_a_person else []


def _until_denied(url: str, credential: str, limit: Limit) -> list[str]:
    # Some more than the limit, because a bucket is refilled in the meantime.
    most = limit.capacity + limit.capacity // 10 + 1
    counted = "-s -o /dev/null -w '%{http_code}\\n'"
    return [
        f"The limit '{limit.name}' allows {limit.capacity:,}. To see a 429, run in another terminal:",
        f"  curl -i {credential}{url}",
        f"  curl {counted} {credential}'{url}/[1-{most}]' | sort | uniq -c",
        f"  curl -i {credential}{url}",
    ]


def _credential(trial: Sample | None, *, for_a_person: bool) -> str:
    if trial is None:
        return ""
    key = trial.key if for_a_person else f"$(cat {shlex.quote(str(trial.key_file))})"
    return f'-H "Authorization: Bearer {key}" '


def _limit_of(rules: Rules, policy: Policy | None) -> Limit | None:
    """The smallest limit of requests under the policy. None if they would not lead to a 429 soon."""
    route = rules.route("GET", "/1")
    if policy is None or route.exempt or route.scope is not None or rules.deny_status != TOO_MANY_REQUESTS:
        return None
    limits = [limit for limit in (route.policy or policy).limits if not limit.shadow]
    limit = min(limits, key=lambda each: each.capacity, default=None)
    return limit if limit is not None and limit.capacity <= _MOST else None


def _policy_of(trial: Sample, rules: Rules) -> Policy | None:
    key = rules.keys.get(hashlib.sha256(trial.key.encode()).hexdigest())
    return None if key is None else key.policy or key.tier.key
