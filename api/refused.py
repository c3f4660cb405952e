"""The answers to refused requests: 401 and 403 with the numbers of their attempts, and 429 after too many.

A refused request is an attempt, counted under the policy `identify.guard`: one with a key that is known, of the key and of the address; any
other, of the address.
"""

from functools import lru_cache

from limiter.api.answers import Answer, Header, problem
from limiter.api.identity import MISSING, Refusal
from limiter.api.numbers import Numbers
from limiter.decision import Decision
from limiter.problems import ABNORMAL_USAGE, problem_body

_UNAUTHORIZED = 401
# Of a file's scopes and of the other reasons: there are few.
_CACHED = 256


def _too_many(detail: str) -> bytes:
    """The body of a 429, with a place for the names of the limits without room."""
    return problem_body(429, detail, kind=ABNORMAL_USAGE, violated_policies=["%s"])


_TOO_MANY_OF_KEY = _too_many("Too many refused requests with this API key or from this address.")
_TOO_MANY_OF_ADDRESS = _too_many("Too many failed attempts from this address.")


def refused_after(refusal: Refusal, numbers: Numbers, decision: Decision) -> Answer:
    """With the numbers of the decision. If it denies the attempt, the answer is that denial."""
    if not decision.allowed and refusal.attempt:
        return numbers.denied(decision, _TOO_MANY_OF_ADDRESS if refusal.holder is None else _TOO_MANY_OF_KEY)
    stated = b"" if decision.degraded and not decision.allowed else numbers.allowed(decision).head
    head, body = _rendered(refusal.status, refusal.reason, refusal.detail, refusal.scope)
    return Answer(refusal.status, stated + head, body)


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
