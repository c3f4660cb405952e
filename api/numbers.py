"""What decisions say, as bytes: their headers, and the body of a denial.

The same as `decision.headers()` (a test holds them against each other), several times as fast: what does not change between two
decisions on the same policies is put together once.
"""

from __future__ import annotations

from collections.abc import Sequence

from limiter.api.answers import NO_STORE, PROBLEM_TYPE, Answer, head_of, problem
from limiter.api.rules import Rules
from limiter.decision import Decision
from limiter.headers import Row, plan_of
from limiter.policy import Policy
from limiter.problems import QUOTA_EXCEEDED, REDUCED_CAPACITY

_NEVER = -1
_SECOND = 1_000_000
_LOOSE = 2**63
_DENIAL = head_of([PROBLEM_TYPE, NO_STORE])
_OPEN = head_of([(b"x-ratelimit-degraded", b"open")])
# A client that obeys us would wait longer than people do, so it is told to give up instead.
_PATIENCE_S = 60

_DENIED = (
    b'{"type": "%s", "title": "Request cannot be satisfied as assigned quota has been exceeded", "status": 429, "detail": "%%s", '
    b'"violated-policies": ["%%s"]}' % QUOTA_EXCEEDED.encode()
)


class Numbers:
    """Decisions on these policies, in this order, as answers."""

    __slots__ = ("_epoch", "_head", "_rows", "_rules")

    def __init__(self, policies: Sequence[Policy], rules: Rules) -> None:
        self._rules, self._epoch = rules, rules.reset == "epoch"
        self._rows, stated, rates = plan_of(tuple(policies))
        numbers = "x-ratelimit-limit: %d\r\nx-ratelimit-remaining: %d\r\nx-ratelimit-reset: %d\r\n"
        # Bytes at once: as text, to be encoded, it takes half as long again.
        self._head = f"ratelimit-policy: {stated}\r\nratelimit: {rates}\r\n{numbers}".encode()

    def allowed(self, decision: Decision) -> Answer:
        if decision.degraded:
            return Answer(200, _OPEN)
        if not self._rows:
            return Answer(200)
        numbers = decision.numbers
        told: list[int] = []
        least, longest = _LOOSE, 0
        binding, at_binding = self._rows[0], 0
        for row in self._rows:
            at = row.at
            left, wait, reset = row.capacity - numbers[at], numbers[at + 1], numbers[at + 2]
            left = max(left, 0)
            if left < least or (left == least and reset > longest):
                least, longest, binding, at_binding = left, reset, row, len(told)
            # A limit may block and still be in an allowed decision, if no more than a look was asked for.
            told += (left, -(-(wait if wait > 0 else reset) // _SECOND))
        return Answer(200, self._told(decision, told, binding, at_binding))

    def denied(self, decision: Decision) -> Answer:
        if decision.degraded:
            return unavailable(list(dict.fromkeys(charge.policy.name for charge in decision.charges)))
        numbers = decision.numbers
        told: list[int] = []
        longest, binding, at_binding, violated = 0, self._rows[0], 0, []
        for row in self._rows:
            at = row.at
            wait = numbers[at + 1]
            if wait:
                violated.append(row.name.encode())
                if longest != _NEVER and (wait == _NEVER or wait > longest):
                    longest, binding, at_binding = wait, row, len(told)
            left = row.capacity - numbers[at]
            told += (max(0, left), -(-(wait if wait > 0 else numbers[at + 2]) // _SECOND))
        head, detail = self._denial(longest, binding, told[at_binding + 1])
        return Answer(429, self._told(decision, told, binding, at_binding) + head, _DENIED % (detail, b'", "'.join(violated)))

    def _told(self, decision: Decision, told: list[int], binding: Row, at: int) -> bytes:
        seconds = told[at + 1]
        if self._epoch:
            seconds -= -decision.decided_us // _SECOND
        return self._head % (*told, binding.capacity, told[at], seconds)

    def _denial(self, wait_us: int, binding: Row, seconds: int) -> tuple[bytes, bytes]:
        """The headers of a denial, and the sentence for it."""
        hopeless = b"x-should-retry: false\r\n" if self._rules.should_retry else b""
        if wait_us == _NEVER:
            detail = b"The limit '%b' allows %d, less than this request costs: it can never pass."
            return _DENIAL + hopeless, detail % (binding.name.encode(), binding.capacity)
        head = _DENIAL + b"retry-after: %d\r\n" % seconds
        if self._rules.retry_after_ms:
            head += b"retry-after-ms: %d\r\n" % -(-wait_us // 1000)
        if seconds > _PATIENCE_S:
            head += hopeless
        return head, b"The limit '%b' allows %d; try again in %d s." % (binding.name.encode(), binding.capacity, seconds)


def unavailable(policies: Sequence[str] = ()) -> Answer:
    """Redis did not decide, and what it should have decided fails closed."""
    return problem(
        503,
        "The limiter cannot count at the moment, and this request must be counted; try again.",
        kind=REDUCED_CAPACITY,
        headers=((b"retry-after", b"1"), (b"x-ratelimit-degraded", b"closed")),
        violated_policies=list(policies),
        degraded="closed",
    )
