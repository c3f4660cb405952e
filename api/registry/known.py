"""What the configuration knows of, for the registry to refuse the rest; None means that it cannot tell."""

from __future__ import annotations

from dataclasses import dataclass

from limiter.api.registry.errors import InvalidRecord


@dataclass(frozen=True, slots=True)
class Known:
    """`Known(tiers=frozenset({"standard", "pro"}))` refuses the tier "por"."""

    tiers: frozenset[str] | None = None
    policies: frozenset[str] | None = None
    scopes: frozenset[str] | None = None

    def check(self, tier: str | None = None, policy: str | None = None, scopes: tuple[str, ...] = ()) -> None:
        if tier is not None:
            _among(tier, self.tiers, "tier")
        if policy is not None:
            _among(policy, self.policies, "policy")
        for scope in scopes:
            _among(scope, self.scopes, "scope")


def _among(name: str, known: frozenset[str] | None, what: str) -> None:
    if known is not None and name not in known:
        raise InvalidRecord(f"{what} {name!r} is not configured: use one of {', '.join(sorted(known)) or 'none, for there is none'}")
