"""The context of one check: what the file defines, and what the checker has met so far."""

from dataclasses import dataclass, field

from pydantic import ValidationInfo


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
