"""A policy: a named list of limits, decided together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, get_args

from limiter.errors import InvalidPolicy, shown
from limiter.limits import Limit
from limiter.limits.checks import checked_name
from limiter.limits.text import parse_limit
from limiter.limits.wire import PolicyWire, tag

# What to do when Redis does not decide: admit, deny, or (None) raise BackendError.
Failure = Literal["open", "closed"]

_MOST_LIMITS = 16


@dataclass(frozen=True, slots=True)
class Policy:
    """`Policy("standard", [SlidingWindow(100, 60), "1000/hour"], failure="open")`.

    Redis keeps the counts under the names of the policy and its limits: you can change capacities and keep the counts.
    """

    name: str
    limits: tuple[Limit, ...]
    failure: Failure | None = field(default=None, kw_only=True)
    wire: PolicyWire = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __init__(self, name: str, limits: Iterable[Limit | str], *, failure: Failure | None = None) -> None:
        put = object.__setattr__
        put(self, "name", checked_name(name, "policy name"))
        put(self, "limits", tuple(parse_limit(limit) if isinstance(limit, str) else limit for limit in _listed(limits)))
        put(self, "failure", failure)
        self._check()
        put(self, "wire", PolicyWire(self.limits))
        # Once, as every lookup by policy asks for it, and a hash over all limits takes microseconds.
        put(self, "_hash", hash((self.name, self.limits, failure)))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[partial[Policy], tuple[()]]:
        # Built anew when unpickled or copied: a hash is not the same in another process.
        return partial(Policy, self.name, self.limits, failure=self.failure), ()

    def _check(self) -> None:
        if not 1 <= len(self.limits) <= _MOST_LIMITS:
            raise InvalidPolicy(f"policy {self.name!r} must have 1 to {_MOST_LIMITS} limits, not {len(self.limits)}")
        for limit in self.limits:
            if not isinstance(limit, Limit):
                raise InvalidPolicy(
                    f"policy {self.name!r} must have limits of type SlidingWindow, TokenBucket, Quota or str, not {shown(limit)}"
                )
        tags = [tag(limit) for limit in self.limits]
        names = [limit.name for limit in self.limits]
        for name, own in zip(names, tags, strict=True):
            if names.count(name) > 1 or tags.count(own) > 1:
                raise InvalidPolicy(f"policy {self.name!r} must have limits of different names, not {name!r} twice: set name=")
        if self.failure is not None and self.failure not in get_args(Failure):
            raise InvalidPolicy(f"policy {self.name!r} must have failure {' or '.join(get_args(Failure))}, not {shown(self.failure)}")


def _listed(limits: Iterable[Limit | str]) -> Iterable[Limit | str]:
    if isinstance(limits, str) or not isinstance(limits, Iterable):
        raise InvalidPolicy(f"limits must be a list such as [{limits!r}], not {limits!r}")
    return limits
