"""The answers to refused requests: 401 and 403 with the caller's numbers, and 429 after too many failed attempts."""

import json
from collections.abc import Iterable

from limiter.api.answers import Answer, Header, problem
from limiter.api.identity import MISSING, Refusal
from limiter.api.numbers import Numbers
from limiter.decision import Decision
from limiter.problems import ABNORMAL_USAGE, problem_body

_UNAUTHORIZED = 401


def refused(refusal: Refusal, numbers: Iterable[Header] = ()) -> Answer:
    headers = [*numbers]
    if refusal.status == _UNAUTHORIZED or refusal.scope is not None:
        headers.append((b"www-authenticate", _challenge(refusal)))
    return problem(refusal.status, refusal.detail, headers=headers, reason=refusal.reason)


def refused_after(refusal: Refusal, numbers: Numbers, decision: Decision) -> Answer:
    """With the numbers of the decision. If it denies the attempt, the answer is that denial."""
    if decision.allowed:
        return refused(refusal, numbers.allowed(decision).headers)
    if refusal.attempt:
        denial = numbers.denied(decision)
        return denial if decision.degraded else _too_many_attempts(denial)
    return refused(refusal, () if decision.degraded else numbers.allowed(decision).headers)


def _challenge(refusal: Refusal) -> bytes:
    challenge = b'Bearer realm="limiter"'
    if refusal.scope is not None:
        return challenge + b', error="insufficient_scope", scope="%b"' % refusal.scope.encode("ascii", "replace")
    return challenge if refusal is MISSING else challenge + b', error="invalid_token"'


def _too_many_attempts(denial: Answer) -> Answer:
    violated = json.loads(denial.body)["violated-policies"]
    detail = "Too many failed attempts from this address."
    return denial._replace(body=problem_body(429, detail, kind=ABNORMAL_USAGE, violated_policies=violated))
