"""`RateLimit`: what a request is charged, as an application declares it."""

import re
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from limiter.addresses import canonical, subject_of
from limiter.charge import LONGEST, checked_subject
from limiter.errors import InvalidPolicy, shown
from limiter.limits import Limit
from limiter.limits.text import parse_limit
from limiter.policy import Failure, Policy

if TYPE_CHECKING:
    # Type checkers know it without the package. From Python 3.13 on, `typing` has it.
    from typing_extensions import TypeVar as TypeVarWithDefault

    # A RateLimit without functions is one for any framework.
    R = TypeVarWithDefault("R", default=Any)
else:
    R = TypeVar("R")

# The framework's request.
Q = TypeVar("Q")
T = TypeVar("T")

# A constant, or a function of the request, which may be async where the framework is.
Of = Callable[[Q], T | Awaitable[T]]
Limits = str | Limit | Policy | Sequence[str | Limit]
PolicyOf = Limits | Of[Q, Limits | None]
SubjectOf = str | Of[Q, str | None]
CostOf = int | Of[Q, int]
AccountOf = str | Of[Q, str]

# An awaitable that the application returned; its result is sent back.
Asking = Generator[Any, Any, T]

_NOT_AWAITABLE = (str, int, Policy, type(None))

_LONGEST_NAME = 64
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.*/-]")
_SLASHES = re.compile("/{2,}")


class Response(NamedTuple):
    """What `refund_when` gets: the status, and the headers with their names in lower case. Status 500 if the application raised."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class RateLimit(Generic[R]):
    """`RateLimit("10/minute", cost=5, subject=user_of)`.

    `policy`: a Policy, limits as text such as `"10/minute"` or `["10/minute", "100/day"]`, or a function of the request. A function that
    returns None exempts the request from this limit. The default `subject` is the address of the client.

    Limits as text need a name, under which Redis keeps their counts. The default name is that of the endpoint, so each endpoint counts by
    itself. Endpoints whose limits have the same `name=`, or use the same Policy, share one count.

    `methods` and `paths` select requests: `methods=["POST"]`, `paths=["/login", "/api/*"]`. `GET` includes `HEAD`.

    `refund_when` gets the response and gives the charge back if it returns true: `refund_when=lambda response: response.status < 400`
    charges failures only.
    """

    policy: PolicyOf[R]
    subject: SubjectOf[R] | None = None
    cost: CostOf[R] = 1
    name: str | None = None
    methods: Iterable[str] | None = None
    paths: Sequence[str] | None = None
    exempt_when: Of[R, bool] | None = None
    refund_when: Callable[[Response], bool] | None = None
    shadow: bool = False
    # Whether it applies to all methods and paths, and whether it asks nothing of a request but the address.
    is_unselective: bool = field(init=False, repr=False)
    is_plain: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        if self.methods is not None:
            methods = frozenset(method.upper() for method in _listed(self.methods, "methods"))
            # Frameworks answer HEAD by what answers GET.
            put(self, "methods", methods | {"HEAD"} if "GET" in methods else methods)
        if self.paths is not None:
            put(self, "paths", tuple(map(_without_needless_slashes, _listed(self.paths, "paths"))))
        put(self, "is_unselective", self.methods is None and self.paths is None)
        asks = any(map(callable, (self.policy, self.subject, self.cost, self.exempt_when)))
        put(self, "is_plain", self.is_unselective and not asks)
        if not callable(self.policy):
            put(self, "policy", as_key(self.policy))
        if self.name is not None or not callable(self.policy):
            # A mistake shows where it is written, not in the first request.
            policy_of(("1/minute",) if callable(self.policy) else as_key(self.policy), self.name or "default", None, shadow=self.shadow)

    def named(self, name: str) -> "RateLimit[R]":
        """The same with this name, unless it has one."""
        return self if self.name or isinstance(self.policy, Policy) else replace(self, name=clean_name(name))

    def applies(self, method: str, paths: Iterable[str]) -> bool:
        """Frameworks differ in what they accept for a method and a path: `post`, `/login/`, `//login`. A limit applies to all of these."""
        if self.methods is not None and method.upper() not in self.methods:
            return False
        return self.paths is None or matches(self.paths, map(_without_needless_slashes, paths))


def matches(listed: Iterable[str], paths: Iterable[str]) -> bool:
    """`/api/*` is `/api` and everything below it."""
    return any(path == each or (each.endswith("/*") and (path + "/").startswith(each[:-1])) for path in paths for each in listed)


def _without_needless_slashes(path: str) -> str:
    return _SLASHES.sub("/", path).rstrip("/") or "/"


def clean_name(text: str) -> str:
    """A text as the name of a policy: only the allowed characters, and the end of it if it is long."""
    return _NOT_IN_NAMES.sub("", text)[-_LONGEST_NAME:] or "default"


def as_key(policy: Limits) -> Policy | tuple[str | Limit, ...]:
    """Hashable, for `policy_of`."""
    if isinstance(policy, Policy):
        return policy
    return (policy,) if isinstance(policy, str | Limit) else tuple(policy)


# Bounded by its size; never invalidated, as policies do not change. A Policy takes 30 us to build.
@lru_cache(maxsize=1024)
def policy_of(what: Policy | tuple[str | Limit, ...], name: str, failure: Failure | None, *, shadow: bool) -> Policy:
    """The policy, with a failure mode, and with all of its limits in shadow if so wished."""
    limits = what.limits if isinstance(what, Policy) else what
    if isinstance(what, Policy):
        name, failure = what.name, what.failure or failure
    parsed = [parse_limit(limit) if isinstance(limit, str) else limit for limit in limits]
    return Policy(name, [replace(limit, shadow=True) for limit in parsed] if shadow else parsed, failure=failure)


def subject_text(subject: object) -> str:
    """What a client may have written as a subject: text that cannot be a subject counts by its digest.

    An IPv6 address counts by its network, so that a function such as `lambda request: user_of(request) or client_address(request)` keeps
    the rule of the default subject.
    """
    if not isinstance(subject, str):
        raise InvalidPolicy(f"subject must be a str, or None to exempt the request, not {shown(subject)}")
    try:
        return subject_of(subject) if ":" in subject and canonical(subject) else checked_subject(subject, "subject")
    except InvalidPolicy:
        return digest(subject)


def short_text(text: Any) -> Any:
    """A key for a cache: not what a client has written at any length."""
    return text if not isinstance(text, str) or len(text) <= LONGEST else subject_text(text)


def digest(secret: str) -> str:
    """For subjects that are secrets, such as API keys: Redis and its logs must not have them."""
    return f"sha256:{sha256(secret.encode('utf-8', 'surrogatepass')).hexdigest()}"


def value_of(option: Any, request: Any) -> Asking[Any]:
    """A constant, or what the function returns for this request."""
    if not callable(option):
        return option
    value = option(request)
    # Most values are of these types, and `isawaitable` takes 0.5 us.
    return (yield value) if not isinstance(value, _NOT_AWAITABLE) and isawaitable(value) else value


def _listed(values: Iterable[str], what: str) -> Iterable[str]:
    if isinstance(values, str):
        raise InvalidPolicy(f"{what} must be a list such as [{values!r}], not {values!r}")
    return values
