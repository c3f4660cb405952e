"""The answers to refused requests: 401 and 403 with the numbers of their attempts, and 429 after too many.

A refused request is an attempt, counted under the policy `identify.guard`: one with a key that is known, of the key and of the address; any
other, of the address.
"""

from functools import lru_cache
from typing import NamedTuple

from limiter.api.answers import Answer, Header, problem
from limiter.api.identity import EXPIRED, MISSING, Refusal
from limiter.api.numbers import Numbers
from limiter.decision import Decision
from limiter.problems import ABNORMAL_USAGE, problem_body
from limiter.protocol.group import Group

_UNAUTHORIZED = 401
# Of a file's scopes and of the other reasons: there are few.
_CACHED = 256


def _too_many(detail: str) -> bytes:
    """The body of a 429, with a place for the names of the limits without room."""
    return problem_body(429, detail, kind=ABNORMAL_USAGE, violated_policies=["%s"])


_TOO_MANY_OF_KEY = _too_many("Too many refused requests with this API key or from this address.")
_TOO_MANY_OF_ADDRESS = _too_many("Too many failed attempts from this address.")


class Attempt(NamedTuple):
    """A refused request: what it is charged, and its answer."""

    group: Group
    numbers: Numbers
    refusal: Refusal
    # Without the numbers.
    head: bytes
    body: bytes
    # When a key expires that is refused for having expired; 0 for other refusals.
    expires_us: int = 0

    def is_early(self, decision: Decision) -> bool:
        """Whether the key has not expired yet by Redis's clock: the estimate of it, by which a request is refused, may be ahead."""
        return decision.decided_us < self.expires_us and not decision.degraded

    def answer(self, decision: Decision) -> Answer:
        """With the numbers of the decision. If it denies the attempt, the answer is that denial."""
        refusal, numbers = self.refusal, self.numbers
        if not decision.allowed:
            if refusal.attempt:
                return numbers.denied(decision, _TOO_MANY_OF_ADDRESS if refusal.holder is None else _TOO_MANY_OF_KEY)
            if decision.degraded:
                return Answer(refusal.status, self.head, self.body)
        return Answer(refusal.status, numbers.head(decision) + self.head, self.body)


def attempt_of(refusal: Refusal, group: Group, numbers: Numbers) -> Attempt:
    holder = refusal.holder
    # A key of the file expires by the local clock, which Redis does not correct.
    expires_us = holder.expires_us if holder and holder.guard and refusal.reason == EXPIRED.reason else None
    head, body = _rendered(refusal.status, refusal.reason, refusal.detail, refusal.scope)
    return Attempt(group, numbers, refusal, head, body, expires_us or 0)


# Bounded by its size; never invalidated, as the result depends on the arguments alone. 0.1 us instead of 20.
@lru_cache(_CACHED)
def _rendered(status: int, reason: str, detail: str, scope: str | None) -> tuple[bytes, bytes]:
    """The head and the body of the answer, without the numbers."""
    headers: list[Header] = []
    if status == _UNAUTHORIZED or scope is not None:
        headers.append((b"www-authenticate", _challenge(reason, scope)))
    answer = problem(status, detail, headers=headers, reason=reason)
    return answer.head, answer.body


def _challenge(reason: str, scope: str | None) -> bytes:
    challenge = b'Bearer realm="limiter"'
    if scope is not None:
        return challenge + b', error="insufficient_scope", scope="%b"' % scope.encode("ascii", "replace")
    return challenge if reason == MISSING.reason else challenge + b', error="invalid_token"'
