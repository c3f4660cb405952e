"""A configuration in the making, and notes about what differs from the original."""

import re
from dataclasses import dataclass, field

import yaml

from limiter.api.config.loader import loads
from limiter.errors import printable

# A limit as in the configuration file: text, or a mapping with one kind of limit.
Limit = str | dict[str, dict[str, object]]

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.*/-]+")
_LONGEST_NAME = 64


class CannotImport(Exception):
    """The file is not in the format that was named, or nothing of it can be imported."""


@dataclass(slots=True)
class Draft:
    """`anonymous` is the policy of callers without a key, `keyed` that of callers with one. Without `keyed`, keys are not read."""

    origin: str
    policies: dict[str, list[Limit]] = field(default_factory=dict)
    anonymous: str = ""
    keyed: str = ""
    routes: list[dict[str, object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, place: str, text: str) -> None:
        """Notes are lines of a comment."""
        line = printable(f"{place}: {text}")
        if line not in self.notes:
            self.notes.append(line)

    def policy(self, name: str, limits: list[Limit]) -> str:
        """Adds a policy, and returns its name: another one if the name is in use for other limits."""
        base = _NOT_IN_NAMES.sub("-", name).strip("-")[: _LONGEST_NAME - 4] or "policy"
        name, number = base, 2
        while self.policies.get(name, limits) != limits:
            name, number = f"{base}-{number}", number + 1
        self.policies[name] = limits
        return name

    def render(self) -> str:
        """The text of a valid file. The notes are comments at its top."""
        if not self.policies:
            raise CannotImport("\n".join([f"{self.origin} has no limit that can be imported", *self.notes]))
        comments = [f"# Imported from {self.origin}."]
        if self.notes:
            comments += ["# What differs from the original:", *(f"# - {note}" for note in self.notes)]
        text = "\n".join(comments) + "\n\n" + "\n".join(self._sections())
        loads(text, self.origin)
        return text

    def _sections(self) -> list[str]:
        identify: dict[str, object] = {"anonymous": self.anonymous} if self.anonymous else {}
        if self.anonymous and not self.keyed:
            identify["order"] = []
        sections = {
            "policies": {name: {"limits": limits} for name, limits in self.policies.items()},
            "tiers": {"default": {"key": self.keyed}} if self.keyed else {},
            "identify": identify,
            "routes": self.routes,
        }
        return [yaml.safe_dump({name: value}, sort_keys=False, width=1000, allow_unicode=True) for name, value in sections.items() if value]
