"""The types of the fields. Each converts what is in the file, or raises InvalidValue with what the field accepts.

Scalars arrive as the text in the file, so text becomes a number, a truth value or a date only in a field of that type.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainValidator, ValidationInfo, model_validator
from redis.connection import parse_url

from limiter.addresses import Network, parse_network
from limiter.api.config.mistakes import shown
from limiter.api.config.tree import Plain
from limiter.api.registry import KeyFormat, validation
from limiter.api.routes.patterns import Pattern, parse_pattern
from limiter.api.settings.waits import ACCEPTED as WAITS
from limiter.api.settings.waits import wait_of
from limiter.limits import Limit
from limiter.limits.checks import MOST_UNITS, checked_name
from limiter.limits.durations import microseconds
from limiter.limits.text import parse_limit

T = TypeVar("T")
K = TypeVar("K")

# Every message about a field that is absent begins with this.
REQUIRED = "is required"

_WHOLE = re.compile(r"[1-9][0-9_]{0,17}|0")
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
_DIGEST = re.compile(r"(?:(sha256|hmac-sha256):)?([0-9a-fA-F]{64})")
_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")
_TRUE, _FALSE = {"true", "True", "TRUE"}, {"false", "False", "FALSE"}
_DEADLINES_US = 1000, 60_000_000
_TIMEOUTS_US = 1_000_000, 3_600_000_000
_MOST_CONNECTIONS = 1_000_000
_SIZE = re.compile(r"([1-9][0-9]{0,8}) ?(KiB|MiB|GiB)")
_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZES = 1 << 20, 1 << 40


class InvalidValue(ValueError):
    """Says what the field accepts and, unless it may be a secret, what it holds."""


def must_be(accepted: str, value: object) -> InvalidValue:
    return InvalidValue(f"must be {accepted}, not {_found(value)}")


def _found(value: object) -> str:
    if isinstance(value, str):
        return shown(value)
    return {dict: "a mapping", list: "a list", type(None): "empty"}.get(type(value), type(value).__name__)


def text(value: object) -> str:
    if not isinstance(value, str):
        raise must_be("text", value)
    return str(value)


def one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else listed(value)


def listed(value: object) -> object:
    if not isinstance(value, list):
        raise must_be("a list such as [a, b]", value)
    return value


def mapped(value: object) -> object:
    if not isinstance(value, dict):
        raise must_be("a mapping from names to their definitions", value)
    return value


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise InvalidValue("must not contain the same name twice")
    return values


def not_empty(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise InvalidValue("must name at least one: omit the field to accept all")
    return values


def url_alone(value: object) -> object:
    """`redis: redis://localhost` is short for a mapping with only a URL."""
    return {"url": value} if isinstance(value, str) else value


def _whole(value: object) -> int:
    if not isinstance(value, Plain) or not _WHOLE.fullmatch(value):
        raise must_be("a whole number such as 1000, without quotes", value)
    return int(value.replace("_", ""))


def _units(value: object) -> int:
    number = _whole(value)
    if number > MOST_UNITS:
        raise must_be(f"a whole number from 0 to {MOST_UNITS:,}", value)
    return number


def _status(value: object) -> int:
    if value not in ("429", "403"):
        raise must_be("429 or 403", value)
    return int(str(value))


def _flag(value: object) -> bool:
    if not isinstance(value, Plain) or value not in _TRUE | _FALSE:
        raise must_be("true or false, without quotes", value)
    return value in _TRUE


def length(value: object) -> float | str:
    """A duration: seconds, or text that the limits parse."""
    return float(value) if isinstance(value, Plain) and _NUMBER.fullmatch(value) else text(value)


def _deadline(value: object) -> float:
    us = possible(lambda: microseconds(length(value), "deadline"))
    if not _DEADLINES_US[0] <= us <= _DEADLINES_US[1]:
        raise must_be("a duration from 1ms to 60s", value)
    return us / 1_000_000


def _timeout(value: object) -> float:
    us = possible(lambda: microseconds(length(value), "timeout"))
    if not _TIMEOUTS_US[0] <= us <= _TIMEOUTS_US[1]:
        raise must_be("a duration from 1s to 1h", value)
    return us / 1_000_000


def _wait(value: object) -> float:
    seconds = wait_of(text(value))
    if seconds is None:
        raise must_be(WAITS, value)
    return seconds


def _connections(value: object) -> int:
    number = _whole(value)
    if not 1 <= number <= _MOST_CONNECTIONS:
        raise must_be(f"a whole number from 1 to {_MOST_CONNECTIONS:,}", value)
    return number


def _size(value: object) -> int:
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    size = int(found[1]) * _UNITS[found[2]] if found else 0
    if not _SIZES[0] <= size <= _SIZES[1]:
        raise must_be("a size from 1MiB to 1024GiB, such as 64MiB", value)
    return size


def _moment(written: str) -> float:
    try:
        moment = datetime.fromisoformat(written if len(written) > len("2026-12-31") else f"{written}T00:00:00Z")
    except ValueError:
        raise must_be("a date or time such as 2026-12-31 or 2026-12-31T18:00:00Z", written) from None
    if moment.tzinfo is None:
        raise must_be("a time with its zone, Z or an offset such as +01:00", written)
    try:
        return moment.timestamp()
    except OverflowError:
        raise must_be("a time from year 1 to 9999 in UTC", written) from None


def _digest(written: str) -> tuple[str, bool]:
    """The digest in hexadecimal, and whether it is an HMAC. Errors do not show the value: it may be a key, put here by mistake."""
    match = _DIGEST.fullmatch(written)
    if not match:
        raise InvalidValue("must be 'sha256:' and the 64 hexadecimal digits of the key's SHA-256, never the key itself")
    return match[2].lower(), match[1] == "hmac-sha256"


def possible(build: Callable[[], T]) -> T:
    """The result of `build`. A number that overflows is an invalid value like any other."""
    try:
        return build()
    except ArithmeticError:
        raise InvalidValue("must not contain a number that large: use a smaller one") from None


def _method(method: str) -> str:
    if not _METHOD.fullmatch(method):
        raise must_be("a method in capitals such as POST", method)
    return method


def _pattern(written: str) -> Pattern:
    try:
        return parse_pattern(written)
    except ValueError as error:
        raise InvalidValue(f"must be a path pattern, not {shown(written)}: {error}") from None


def _redis_url(url: str) -> str:
    """Errors do not show the value: it may contain a password."""
    try:
        parse_url(url)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, AttributeError):
        raise InvalidValue("must be a Redis URL such as redis://localhost:6379/0, rediss://host or unix:///path") from None
    return url


@dataclass(slots=True)
class CheckContext:
    """The first three fields are read from the file before it is checked.

    `fields` maps the id of a checked mapping to the names of its known fields; `met` holds the values that must be unique.
    """

    policies: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()
    tiered_accounts: frozenset[str] = frozenset()
    fields: dict[int, tuple[str, ...]] = field(default_factory=dict)
    met: set[tuple[str, str]] = field(default_factory=set)

    def is_new(self, what: str, value: str) -> bool:
        """Whether the value has not been met before; it has been from now on."""
        new = (what, value) not in self.met
        self.met.add((what, value))
        return new


def context_of(info: ValidationInfo) -> CheckContext:
    context = info.context
    assert isinstance(context, CheckContext)  # noqa: S101 - `checked` is the only caller, and passes one
    return context


class Form(BaseModel):
    """A mapping with known fields. An empty field counts as absent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_empty_fields(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, dict):
            raise must_be(f"a mapping with fields from {', '.join(cls.model_fields)}", value)
        # The message about an unknown field suggests one of these.
        context_of(info).fields[id(value)] = tuple(cls.model_fields)
        return {name: inner for name, inner in value.items() if inner is not None or name not in cls.model_fields}


def from_text(convert: Callable[[str], object]) -> PlainValidator:
    return PlainValidator(lambda value: convert(text(value)))


def _name(what: str) -> PlainValidator:
    return from_text(lambda name: checked_name(name, what))


Text = Annotated[str, BeforeValidator(text)]
Whole = Annotated[int, BeforeValidator(_whole)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Length = Annotated[float | str, BeforeValidator(length)]
Deadline = Annotated[float, BeforeValidator(_deadline)]
Timeout = Annotated[float, BeforeValidator(_timeout)]
Size = Annotated[int, BeforeValidator(_size)]
Wait = Annotated[float, BeforeValidator(_wait)]
ConnectionCount = Annotated[int, BeforeValidator(_connections)]
Moment = Annotated[float, from_text(_moment)]
Digest = Annotated[tuple[str, bool], from_text(_digest)]
NetworkField = Annotated[Network, from_text(lambda network: parse_network(validation.addresses([network])[0]))]
LimitText = Annotated[Limit, from_text(lambda limit: possible(lambda: parse_limit(limit)))]
Scope = Annotated[str, from_text(lambda scope: validation.scopes([scope])[0])]
PathPattern = Annotated[Pattern, from_text(_pattern)]
Units = Annotated[int, BeforeValidator(_units)]
DenyStatus = Annotated[Literal[429, 403], BeforeValidator(_status)]
ListOf = Annotated[tuple[T, ...], BeforeValidator(listed)]
MapOf = Annotated[dict[K, T], BeforeValidator(mapped)]
KeyPrefix = Annotated[str, from_text(lambda prefix: KeyFormat(prefix).prefix)]
Method = Annotated[str, from_text(_method)]
RedisUrl = Annotated[str, from_text(_redis_url)]
Prefix = Annotated[str, _name("prefix")]
PolicyKey = Annotated[str, _name("policy")]
TierKey = Annotated[str, _name("tier")]
KeyName = Annotated[str, _name("name")]
AccountName = Annotated[str, from_text(validation.account_id)]
