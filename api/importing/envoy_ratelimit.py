"""envoyproxy/ratelimit: the descriptors of a domain.

A descriptor with a `rate_limit` becomes a policy. `remote_address` becomes the policy of callers by address, and `path` with a value
becomes a route. Programs that count by anything else take from the policy with /v1/take.
"""

from pathlib import Path
from typing import Any

import yaml

from limiter.api.importing.draft import CannotImport, Draft
from limiter.errors import InvalidPolicy
from limiter.limits.text import parse_limit

_ADDRESS, _PATH = "remote_address", "path"
# Units that start with the clock become windows that hold wherever they start. A day is that of the calendar in both.
_LIMITS = {
    "second": "{}/second",
    "minute": "{}/minute",
    "hour": "{}/hour",
    "day": "quota {}/day",
    "week": "quota {}/week",
    "month": "quota {}/month",
}
_DIFFERENCES = {
    "week": "a week begins on Monday instead of Thursday",
    "month": "a month is one of the calendar instead of 30 days",
}
_KNOWN = {"key", "value", "rate_limit", "descriptors", "shadow_mode"}

# A key and its value; "" stands for every value.
Entry = tuple[str, str]


def draft_of(file: Path) -> Draft:
    try:
        document = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise CannotImport(f"{file} is not valid YAML: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("descriptors"), list):
        raise CannotImport(f"{file} must be a mapping with `domain` and a list of `descriptors`")
    draft = Draft(f"envoyproxy/ratelimit ({file.name})")
    domain = _text(document.get("domain", ""), "domain")
    for descriptor in document["descriptors"]:
        _read(draft, domain, descriptor, ())
    if draft.routes and not draft.anonymous:
        draft.anonymous = str(draft.routes[0]["policy"])
        draft.routes.append({"path": "/**", "exempt": True})
    return draft


def _read(draft: Draft, domain: str, descriptor: Any, outer: tuple[Entry, ...]) -> None:
    if not isinstance(descriptor, dict) or not isinstance(descriptor.get("key"), str):
        raise CannotImport(f"a descriptor must be a mapping with a `key`, not {_shown(descriptor)}")
    entries = (*outer, (descriptor["key"], _text(descriptor.get("value", ""), "value")))
    place = " > ".join(f"{key}={value}" if value else key for key, value in entries)
    for field in descriptor.keys() - _KNOWN:
        draft.note(place, f"`{field}` was not imported")
    if (rule := descriptor.get("rate_limit")) is not None:
        _read_rule(draft, domain, entries, place, rule, shadow=descriptor.get("shadow_mode") is True)
    inner = descriptor.get("descriptors") or []
    if not isinstance(inner, list):
        raise CannotImport(f"{place}: descriptors must be a list, not {_shown(inner)}")
    for each in inner:
        _read(draft, domain, each, entries)


def _read_rule(draft: Draft, domain: str, entries: tuple[Entry, ...], place: str, rule: Any, *, shadow: bool) -> None:
    if not isinstance(rule, dict):
        raise CannotImport(f"{place}: rate_limit must be a mapping, not {_shown(rule)}")
    if rule.get("unlimited"):
        draft.note(place, "is unlimited: do not charge such requests")
        return
    unit, capacity = _text(rule.get("unit", ""), f"{place}: unit").lower(), rule.get("requests_per_unit")
    if unit not in _LIMITS or type(capacity) is not int or capacity < 1:
        draft.note(place, f"{_shown(capacity)} per {unit or 'unit'} was not imported: limits are 1 or more per {', '.join(_LIMITS)}")
        return
    for field in rule.keys() - {"unit", "requests_per_unit"}:
        draft.note(place, f"`rate_limit.{field}` was not imported")
    if unit in _DIFFERENCES:
        draft.note(place, _DIFFERENCES[unit])
    limit = f"{'shadow ' * shadow}{_LIMITS[unit].format(capacity)}"
    try:
        parse_limit(limit)
    except InvalidPolicy as error:
        draft.note(place, f"was not imported: {error}")
        return
    name = ".".join([domain, *(f"{key}.{value}" if value else key for key, value in entries)])
    _place(draft, entries, place, draft.policy(name, [limit]))


def _place(draft: Draft, entries: tuple[Entry, ...], place: str, policy: str) -> None:
    """Who is charged: callers by address, those of a path, or the programs that name the policy."""
    rest = [entry for entry in entries if entry != (_ADDRESS, "")]
    if not rest:
        draft.anonymous = policy
    elif len(rest) == 1 and rest[0][0] == _PATH and rest[0][1].startswith("/"):
        draft.routes.append({"path": rest[0][1], "policy": policy})
        if len(entries) == 1:
            draft.note(place, "counts the path for each caller by itself, instead of for all callers together")
    else:
        subject = " and ".join(f"the value of {key}" for key, value in entries if not value) or "a constant"
        draft.note(
            place, f'is not charged by the sidecar: post {{"policy": "{policy}", "subject": …}} to /v1/take. The subject is {subject}'
        )


def _text(value: object, name: str) -> str:
    if isinstance(value, dict | list):
        raise CannotImport(f"{name} must be text, not {_shown(value)}")
    return str(value)


def _shown(value: object) -> str:
    """Aliases let a small file describe a list that would fill the memory as text."""
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else f"{value!r:.80}"
