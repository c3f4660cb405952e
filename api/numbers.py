"""Decisions as answers of the data plane: the header lines as bytes, and the body of a denial.

The figures and the header lines are those of `decision.headers()`.
"""

from collections.abc import Sequence

from limiter.api.answers import NO_STORE, PROBLEM_TYPE, Answer, head_of
from limiter.api.rules import Rules
from limiter.decision import Decision
from limiter.denials import OUTAGE_HEADERS, SERVICE_UNAVAILABLE, TOO_MANY_REQUESTS, exceeded_body, unavailable_body, violated
from limiter.headers import layout_of, shifted
from limiter.policy import Policy
from limiter.summary import NEVER, summarize

_DENIAL = head_of([PROBLEM_TYPE, NO_STORE])
_OUTAGE = head_of((name.lower().encode(), value.encode()) for name, value in OUTAGE_HEADERS.items()) + _DENIAL
_OPEN = head_of([(b"x-ratelimit-degraded", b"open")])
_DO_NOT_RETRY = b"x-should-retry: false\r\n"
# People give up waiting after about this long, so a generated client should too.
_PATIENCE_S = 60


class Numbers:
    """Renders decisions on these policies, in this order."""

    __slots__ = ("_layout", "_rules")

    def __init__(self, policies: Sequence[Policy], rules: Rules) -> None:
        self._layout, self._rules = layout_of(tuple(policies)), rules

    def allowed(self, decision: Decision) -> Answer:
        return Answer(200, self.head(decision))

    def head(self, decision: Decision) -> bytes:
        """The header lines of an allowed request."""
        if decision.degraded:
            return _OPEN
        layout = self._layout
        if not layout.lines:
            return b""
        _, figures = summarize(layout.rows, True, decision.numbers)
        return layout.lines % shifted(figures, self._rules.reset, decision.decided_us)

    def denied(self, decision: Decision, body: bytes = b"") -> Answer:
        """With the reason, or with the given body, which has a place for the names of the limits without room."""
        if decision.degraded:
            return unavailable([charge.policy.name for charge in decision.charges])
        layout, numbers = self._layout, decision.numbers
        binding, figures = summarize(layout.rows, False, numbers)
        wait_us, seconds = numbers[binding.at + 1], figures[-1]
        lines = layout.lines % shifted(figures, self._rules.reset, decision.decided_us)
        body = body % violated(layout, numbers) if body else exceeded_body(layout, numbers, binding, seconds)
        return Answer(TOO_MANY_REQUESTS, lines + _DENIAL + self._retry_lines(wait_us, seconds), body)

    def _retry_lines(self, wait_us: int, seconds: int) -> bytes:
        rules, lines = self._rules, b""
        if wait_us != NEVER:
            lines = b"retry-after: %d\r\n" % seconds
            if rules.retry_after_ms:
                lines += b"retry-after-ms: %d\r\n" % -(-wait_us // 1000)
        if rules.should_retry and (wait_us == NEVER or seconds > _PATIENCE_S):
            lines += _DO_NOT_RETRY
        return lines


def unavailable(policies: Sequence[str] = ()) -> Answer:
    """Redis did not decide, and a policy with `failure: closed` applies."""
    return Answer(SERVICE_UNAVAILABLE, _OUTAGE, unavailable_body(policies))
