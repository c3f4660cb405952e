"""The values that fields hold: each read from what stands in the file, or refused with the remedy.

Every reader takes text as it was written, so a number, a truth value or a date is one only where the field asks for one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainValidator, ValidationInfo, model_validator
from redis.connection import parse_url

from limiter.addresses import Network, parse_network
from limiter.api.config.context import context_of
from limiter.api.config.mistakes import shown
from limiter.api.config.tree import Plain
from limiter.api.registry import Form as ShapeOfKeys
from limiter.api.registry import checks
from limiter.api.routes.patterns import Pattern, parse_pattern
from limiter.limits import Limit
from limiter.limits.checks import checked_name
from limiter.limits.durations import microseconds
from limiter.limits.text import parse_limit
from limiter.policy import Failure

T = TypeVar("T")
K = TypeVar("K")

# How what is said of a field begins that does not stand in the file.
MISSING = "is missing"

_WHOLE = re.compile(r"[1-9][0-9_]{0,17}|0")
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
_DIGEST = re.compile(r"(?:(sha256|hmac-sha256):)?([0-9a-fA-F]{64})")
_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")
_YES, _NO = {"true", "True", "TRUE"}, {"false", "False", "FALSE"}
_DEADLINES_US = 1000, 60_000_000
_MOST_UNITS = 2**32 - 1


class Unfit(ValueError):
    """What stands in the field, and what could."""


def text(value: object) -> str:
    if value is None:
        raise Unfit("is empty: write a text")
    if not isinstance(value, str):
        raise Unfit(f"is {kind(value)}: write one text")
    return str(value)


def kind(value: object) -> str:
    if isinstance(value, str):
        return f"the text {shown(value)}"
    return {dict: "a mapping", list: "a list", type(None): "empty"}.get(type(value), type(value).__name__)


def one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else listed(value)


def listed(value: object) -> object:
    if not isinstance(value, list):
        raise Unfit(f"is {kind(value)}: write a list, such as [a, b]")
    return value


def mapped(value: object) -> object:
    if not isinstance(value, dict):
        raise Unfit(f"is {kind(value)}: write a mapping, of names and what they stand for")
    return value


def choice(*options: str) -> BeforeValidator:
    def chosen(value: object) -> str:
        said = text(value)
        if said not in options:
            raise Unfit(f"{shown(said)} is none of the choices: use {' or '.join(options)}")
        return said

    return BeforeValidator(chosen)


def url_alone(value: object) -> object:
    """`redis: redis://localhost` is short for a mapping with nothing but a URL."""
    return {"url": value} if isinstance(value, str) else value


def _whole(value: object) -> int:
    if not isinstance(value, Plain) or not _WHOLE.fullmatch(value):
        raise Unfit(f"{_said(value)} is not a whole number: write it in digits, without quotes, such as 1000")
    return int(value.replace("_", ""))


def _units(value: object) -> int:
    number = _whole(value)
    if number > _MOST_UNITS:
        raise Unfit(f"{_said(value)} is out of range: use 0 to {_MOST_UNITS:,}")
    return number


def _status(value: object) -> int:
    if value not in ("429", "403"):
        raise Unfit(f"{_said(value)} is no status for a denial: write 429, or 403 for nginx's auth_request")
    return int(str(value))


def _flag(value: object) -> bool:
    if not isinstance(value, Plain) or value not in _YES | _NO:
        raise Unfit(f"{_said(value)} is neither true nor false: write one of these, without quotes")
    return value in _YES


def _length(value: object) -> float | str:
    """Of time: seconds, or text that the limits read."""
    return float(value) if isinstance(value, Plain) and _NUMBER.fullmatch(value) else text(value)


def _deadline(value: object) -> float:
    us = possible(lambda: microseconds(_length(value), "deadline"))
    if not _DEADLINES_US[0] <= us <= _DEADLINES_US[1]:
        raise Unfit(f"{_said(value)} is out of range: use 1ms to 60s")
    return us / 1_000_000


def _moment(value: object) -> float:
    said = text(value)
    try:
        moment = datetime.fromisoformat(said if len(said) > len("2026-12-31") else f"{said}T00:00:00Z")
    except ValueError:
        raise Unfit(f"{shown(said)} is no time: write it as 2026-12-31, or 2026-12-31T18:00:00Z") from None
    if moment.tzinfo is None:
        raise Unfit(f"{shown(said)} names no time zone: end it with Z, or an offset such as +01:00")
    try:
        return moment.timestamp()
    except OverflowError:
        raise Unfit(f"{shown(said)} is out of range: leave it out for a key that does not expire") from None


def _digest(value: object) -> tuple[str, bool]:
    """In hexadecimal, and whether it is of the HMAC. Never shown: it may be the key itself, put here by mistake."""
    match = _DIGEST.fullmatch(text(value))
    if not match:
        raise Unfit("is no digest: write 'sha256:' and 64 hexadecimal digits, the SHA-256 of the key; never the key itself")
    return match[2].lower(), match[1] == "hmac-sha256"


def _network(value: object) -> Network:
    return parse_network(checks.addresses([text(value)])[0])


def _limit_text(value: object) -> Limit:
    return possible(lambda: parse_limit(text(value)))


def possible(build: Callable[[], T]) -> T:
    """What is built; numbers too large to reckon with are a mistake as any other."""
    try:
        return build()
    except ArithmeticError:
        raise Unfit("holds a number that is too large: use a smaller one") from None


def _scope(value: object) -> str:
    return checks.scopes([text(value)])[0]


def _key_prefix(value: object) -> str:
    return ShapeOfKeys(text(value)).prefix


def _method(value: object) -> str:
    method = text(value)
    if not _METHOD.fullmatch(method):
        raise Unfit(f"{shown(method)} is no method: write it in capitals, such as POST; leave `method` out for any")
    return method


def _pattern(value: object) -> Pattern:
    written = text(value)
    try:
        return parse_pattern(written)
    except ValueError as error:
        raise Unfit(f"{shown(written)} is no pattern: {error}") from None


def _redis_url(value: object) -> str:
    """Not shown: there may be a password in it."""
    url = text(value)
    try:
        parse_url(url)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, AttributeError):
        raise Unfit("is no Redis URL: write redis://, rediss:// or unix://, and where it is: redis://localhost:6379/0") from None
    return url


def _named(what: str) -> Callable[[object], str]:
    return lambda value: checked_name(text(value), what)


def _said(value: object) -> str:
    return shown(value) if isinstance(value, str) else kind(value)


def _account(value: object) -> str:
    return checks.account_id(text(value))


class Form(BaseModel):
    """A mapping of known fields. One that is left empty is as if it were left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_empty_fields(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, dict):
            raise Unfit(f"is {kind(value)}: write a mapping, with fields out of {', '.join(cls.model_fields)}")
        # An unknown field is told together with those that there are.
        context_of(info).fields[id(value)] = tuple(cls.model_fields)
        return {name: inner for name, inner in value.items() if inner is not None or name not in cls.model_fields}


Text = Annotated[str, BeforeValidator(text)]
Whole = Annotated[int, BeforeValidator(_whole)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Length = Annotated[float | str, BeforeValidator(_length)]
Deadline = Annotated[float, BeforeValidator(_deadline)]
Moment = Annotated[float, BeforeValidator(_moment)]
Digest = Annotated[tuple[str, bool], BeforeValidator(_digest)]
NetworkField = Annotated[Network, PlainValidator(_network)]
LimitText = Annotated[Limit, PlainValidator(_limit_text)]
Scope = Annotated[str, BeforeValidator(_scope)]
PathPattern = Annotated[Pattern, PlainValidator(_pattern)]
Units = Annotated[int, BeforeValidator(_units)]
DenyStatus = Annotated[Literal[429, 403], BeforeValidator(_status)]
ListOf = Annotated[tuple[T, ...], BeforeValidator(listed)]
MapOf = Annotated[dict[K, T], BeforeValidator(mapped)]
KeyPrefix = Annotated[str, BeforeValidator(_key_prefix)]
Method = Annotated[str, BeforeValidator(_method)]
RedisUrl = Annotated[str, BeforeValidator(_redis_url)]
Prefix = Annotated[str, BeforeValidator(_named("prefix"))]
PolicyKey = Annotated[str, BeforeValidator(_named("policy"))]
TierKey = Annotated[str, BeforeValidator(_named("tier"))]
KeyName = Annotated[str, BeforeValidator(_named("name"))]
AccountName = Annotated[str, BeforeValidator(_account)]
FailureMode = Annotated[Failure, choice(*get_args(Failure))]
