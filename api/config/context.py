"""What is known while a file is checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import ValidationInfo


@dataclass(slots=True)
class CheckContext:
    """What the file defines, gathered before it is checked. And what is met on the way: of which mappings the fields are known
    (by the mapping's id), and what may stand only once.
    """

    policies: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()
    tiered_accounts: frozenset[str] = frozenset()
    fields: dict[int, tuple[str, ...]] = field(default_factory=dict)
    met: set[tuple[str, str]] = field(default_factory=set)

    def once(self, what: str, value: str) -> bool:
        new = (what, value) not in self.met
        self.met.add((what, value))
        return new


def context_of(info: ValidationInfo) -> CheckContext:
    context = info.context
    assert isinstance(context, CheckContext)  # noqa: S101 - forms are not made otherwise
    return context
