"""`Ruling`: what was decided on one request, the response to a denial, and what is given back after the response."""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from limiter.decision import Decision
from limiter.denials import OUTAGE_HEADERS, SERVICE_UNAVAILABLE, TOO_MANY_REQUESTS, exceeded_body, unavailable_body
from limiter.headers import Reset, layout_of
from limiter.problems import CONTENT_TYPE
from limiter.protocol.group import Group
from limiter.protocol.refund import refund_of
from limiter.summary import WIDTH, summarize
from limiter.web.rate_limit import RateLimit, Response


class Denial(NamedTuple):
    """The response to a denied request: 429, or 503 if Redis did not decide and a policy fails closed."""

    decision: Decision
    status: int
    headers: dict[str, str]
    body: bytes


class Ruling:
    """`limits` has the RateLimit behind each charge of the decision."""

    __slots__ = ("_prefix", "_reset", "_shows", "decision", "limits")

    def __init__(self, decision: Decision, limits: Sequence[RateLimit[Any]], prefix: str, reset: Reset, *, shows: bool) -> None:
        self.decision, self.limits = decision, limits
        self._prefix, self._shows = prefix, shows
        self._reset: Reset = reset

    @property
    def denial(self) -> Denial | None:
        decision = self.decision
        if decision.allowed:
            return None
        policies = [charge.policy for charge in decision.charges]
        headers = decision.headers(self._reset) | {"Content-Type": CONTENT_TYPE}
        if decision.degraded:
            body = unavailable_body(policy.name for policy in policies)
            return Denial(decision, SERVICE_UNAVAILABLE, headers | OUTAGE_HEADERS, body)
        layout = layout_of(tuple(policies))
        binding, figures = summarize(layout.rows, False, decision.numbers)
        return Denial(decision, TOO_MANY_REQUESTS, headers, exceeded_body(layout, decision.numbers, binding, figures[-1]))

    @property
    def headers(self) -> dict[str, str]:
        """For the response to an admitted request. They replace those of the same names."""
        if not self._shows:
            return {}
        return {"X-RateLimit-Degraded": "open"} if self.decision.degraded else self.decision.headers(self._reset)

    @property
    def may_refund(self) -> bool:
        return self.decision.charged and any(limit.refund_when for limit in self.limits)

    def refund(self, response: Response) -> Generator[Group, Decision, None]:
        """Give back what the response does not owe. The headers then show what is left after that."""
        decision, numbers, at = self.decision, list(self.decision.numbers), 0
        for charge, limit in zip(decision.charges, self.limits, strict=True):
            end = at + WIDTH * len(charge.policy.limits)
            if decision.charged and limit.refund_when and limit.refund_when(response):
                part = decision._replace(charges=(charge,), numbers=numbers[at:end])
                group = refund_of(self._prefix, part, None)
                refunded = (yield group) if group else part
                # Redis may be away by now. Then the units stay charged.
                numbers[at:end] = refunded.numbers or numbers[at:end]
            at = end
        self.decision = decision._replace(numbers=tuple(numbers))
