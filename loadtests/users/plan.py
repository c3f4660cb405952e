"""What a test sends and is judged by: the options, completed by the user class."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limiter import InvalidPolicy, parse_limit
from limiter.limits import Limit


class InvalidPlan(Exception):
    """The options do not describe a test."""


@dataclass(frozen=True, slots=True)
class Key:
    """Reports name a key by its line in the file, because the key itself is a secret."""

    secret: str
    name: str
    account: str


@dataclass(frozen=True, slots=True)
class Limits:
    key: Sequence[Limit]
    account: Sequence[Limit] = ()

    @property
    def all(self) -> Sequence[Limit]:
        return (*self.key, *self.account)


@dataclass(frozen=True, slots=True)
class Plan:
    """`secret_header` has the header of a key, with `{}` for the key."""

    keys: Sequence[Key]
    limits: Limits
    method: str
    path: str
    secret_header: tuple[str, str]
    headers: Mapping[str, str]
    denied_status: int

    def headers_of(self, key: Key) -> dict[str, str]:
        name, value = self.secret_header
        return {**self.headers, name: value.replace("{}", key.secret)}


def over_limit(path: str) -> str:
    """The name of denials in Locust's statistics."""
    return f"{path}: over a limit"


class Defaults:
    """What a user class sets for its users. Options take precedence."""

    path = "/"
    method = "GET"
    key_header = "Authorization: Bearer"
    forward_auth: str | None = None
    headers: Mapping[str, str] = {}
    # The configuration of the sidecar that has the limits, and the tier of the keys.
    sidecar_config: Path | None = None
    tier: str | None = None


def planned(options: Mapping[str, Any], defaults: type[Defaults]) -> Plan:
    """Raises InvalidPlan."""
    chosen = {name: options.get(name) or getattr(defaults, name) for name in ("path", "method", "key_header", "forward_auth")}
    if not chosen["path"].startswith("/"):
        raise InvalidPlan(f"--path must begin with a slash, not {chosen['path']!r}")
    path, described = _asked(chosen["path"], chosen["method"], chosen["forward_auth"])
    name, _, word = chosen["key_header"].partition(":")
    return Plan(
        keys_of(options.get("keys")),
        limits_of(options, defaults),
        chosen["method"],
        path,
        (name.strip(), f"{word.strip()} {{}}".strip()),
        {**defaults.headers, **described, **dict(_header(each) for each in options.get("header") or ())},
        int(options.get("denied_status") or 429),
    )


def _asked(path: str, method: str, gateway: str | None) -> tuple[str, dict[str, str]]:
    """The path to request, and the headers in which a gateway describes the original request."""
    if gateway is None:
        return path, {}
    if gateway == "nginx":
        return "/authorize", {"X-Original-Method": method, "X-Original-URI": path}
    if gateway == "forwarded":
        return "/authorize", {"X-Forwarded-Method": method, "X-Forwarded-Uri": path}
    return f"/authorize{path}", {}


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise InvalidPlan(f"--header must be 'NAME: VALUE', not {text!r}")
    return name.strip(), value.strip()


def keys_of(file: str | None) -> list[Key]:
    if not file:
        raise InvalidPlan("--keys must be a file with one API key per line")
    try:
        lines = Path(file).read_text("utf-8").splitlines()
    except OSError as error:
        raise InvalidPlan(f"--keys must be a file that this machine can read, not {file!r}: {error.strerror}") from None
    listed = [(number, line.split()) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not listed:
        raise InvalidPlan(f"--keys must be a file with one API key per line, and {file!r} has none")
    return [_key(file, number, words) for number, words in listed]


def _key(file: str, number: int, words: list[str]) -> Key:
    if len(words) > 2:
        raise InvalidPlan(f"a line of --keys must be a key and perhaps its account, and line {number} of {file!r} has {len(words)} words")
    name = f"key {number}"
    return Key(words[0], name, f"account {words[1]}" if len(words) == 2 else f"account of {name}")


def limits_of(options: Mapping[str, Any], defaults: type[Defaults] = Defaults) -> Limits:
    """Shadow limits do not deny, so they are not judged."""
    if options.get("limits"):
        found = Limits(_parsed("--limits", options["limits"]), _parsed("--account-limits", options.get("account_limits") or ""))
    elif config := options.get("sidecar_config") or defaults.sidecar_config:
        found = _limits_of_tier(Path(config), options.get("tier") or defaults.tier)
    else:
        raise InvalidPlan("--limits must be the limits of each key, such as '100/minute, 1000/hour'; or set --sidecar-config and --tier")
    if not found.all:
        raise InvalidPlan("there must be a limit that denies, and all of these are in shadow")
    return found


def _parsed(option: str, text: str) -> list[Limit]:
    """A comma separates limits. In `burst 50, 1200/minute`, it is a part of one."""
    parts = re.findall(r"\s*(?:(?:shadow )?burst [^,]*,)?[^,]+", text)
    try:
        return [limit for limit in (parse_limit(part.strip()) for part in parts) if not limit.shadow]
    except InvalidPolicy as error:
        raise InvalidPlan(f"{option}: {error}") from None


def _limits_of_tier(config: Path, tier: str | None) -> Limits:
    # The sidecar's packages are needed only here.
    from limiter.api.config.loader import ConfigError, load  # noqa: PLC0415

    try:
        tiers = load(config).tiers
    except ConfigError as error:
        raise InvalidPlan(f"--sidecar-config: {error}") from None
    if tier is None or tier not in tiers:
        raise InvalidPlan(f"--tier must be one of {', '.join(tiers) or 'the tiers of the configuration, which has none'}, not {tier}")
    found = tiers[tier]
    enforced = [[limit for limit in policy.limits if not limit.shadow] if policy else [] for policy in (found.key, found.account)]
    return Limits(*enforced)
