"""Refused attempts on their way to the audit: counted in the process, written every few seconds, so many lines and no more.

An attacker who invents a key or an address for each attempt fills the lines, and the rest is one number.
"""

from __future__ import annotations

from collections import Counter

from limiter.api.registry.audit import Audit
from limiter.api.registry.identity import Refused

_MOST_LINES = 64
# An address is text that somebody sent, where no proxy is trusted to tell it.
_LONGEST_ADDRESS = 64

Line = tuple[str, str, str, str]
_OTHERS: Line = ("others", "", "", "")


class Refusals:
    __slots__ = ("_audit", "_lines")

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._lines: Counter[Line] = Counter()

    def note(self, refused: Refused, address: str) -> None:
        key = refused.identity.key if refused.identity else None
        line = (refused.refusal.reason, key.account if key else "", key.id if key else "", address[:_LONGEST_ADDRESS])
        self._lines[line if line in self._lines or len(self._lines) < _MOST_LINES else _OTHERS] += 1

    async def flush(self, now_us: int) -> None:
        lines, self._lines = self._lines, Counter()
        if lines:
            await self._audit.refused(_entry(line, count, now_us) for line, count in lines.items())


def _entry(line: Line, count: int, now_us: int) -> dict[str, str]:
    reason, account, key, address = line
    told = {"action": f"refused.{reason}", "account": account, "key": key, "address": address, "count": str(count)}
    return {"at_us": str(now_us)} | {name: value for name, value in told.items() if value}
