"""`Ruling`: what was decided on one request, the response to a denial, and what is given back after the response."""

from collections.abc import Generator, Iterable, Sequence
from typing import Any, NamedTuple

from limiter.decision import Decision
from limiter.denials import OUTAGE_HEADERS, SERVICE_UNAVAILABLE, TOO_MANY_REQUESTS, exceeded_body, unavailable_body
from limiter.headers import Reset, layout_of
from limiter.problems import CONTENT_TYPE
from limiter.protocol.group import Group
from limiter.protocol.refund import refund_of
from limiter.summary import WIDTH, summarize
from limiter.web.core.header_fields import Fields, Header, encoded, replaced
from limiter.web.core.rate_limit import RateLimit, Response


class Denial(NamedTuple):
    """The response to a denied request: 429, or 503 if Redis did not decide and a policy fails closed."""

    decision: Decision
    status: int
    headers: dict[str, str]
    body: bytes


class Bill(NamedTuple):
    """What a request is charged. Many requests share one. `limits` has the RateLimit behind each charge."""

    group: Group
    limits: tuple[RateLimit[Any], ...]
    may_refund: bool
    fields: Fields


class Rendering(NamedTuple):
    """How responses show decisions. `prefix` is that of the limiter, for refunds."""

    prefix: str
    reset: Reset
    shows_admitted: bool


class Ruling:
    """Usually one decision; two if the endpoint made another one."""

    __slots__ = ("_bill", "_decision", "_earlier", "_rendering")

    def __init__(self, decision: Decision, bill: Bill, rendering: Rendering) -> None:
        self._decision, self._bill, self._rendering = decision, bill, rendering
        self._earlier: Ruling | None = None

    def after(self, earlier: "Ruling") -> "Ruling":
        """Both. The response shows the numbers of both."""
        self._earlier = earlier
        return self

    @property
    def is_allowed(self) -> bool:
        return self._decision.allowed

    @property
    def decision(self) -> Decision:
        """The last decision, with the limits of the earlier one."""
        last = self._decision
        if self._earlier is None:
            return last
        earlier = self._earlier.decision
        degraded = earlier.degraded or last.degraded
        numbers = () if degraded else (*earlier.numbers, *last.numbers)
        return last._replace(charges=earlier.charges + last.charges, numbers=numbers, degraded=degraded)

    @property
    def denial(self) -> Denial | None:
        decision = self.decision
        if decision.allowed:
            return None
        policies = [charge.policy for charge in decision.charges]
        headers = decision.headers(self._rendering.reset) | {"Content-Type": CONTENT_TYPE}
        if decision.degraded:
            body = unavailable_body(policy.name for policy in policies)
            return Denial(decision, SERVICE_UNAVAILABLE, headers | OUTAGE_HEADERS, body)
        layout = layout_of(tuple(policies))
        binding, figures = summarize(layout.rows, False, decision.numbers)
        return Denial(decision, TOO_MANY_REQUESTS, headers, exceeded_body(layout, decision.numbers, binding, figures[-1]))

    @property
    def headers(self) -> dict[str, str]:
        """For the response to an admitted request. They replace those of the same names."""
        if not self._rendering.shows_admitted:
            return {}
        decision = self.decision
        return {"X-RateLimit-Degraded": "open"} if decision.degraded else decision.headers(self._rendering.reset)

    def merged(self, headers: Iterable[Header]) -> list[Header]:
        """The headers of the application as bytes, with `headers`."""
        decision, rendering, fields = self._decision, self._rendering, self._bill.fields
        if decision.numbers and rendering.shows_admitted and self._earlier is None and not fields.are_none:
            return fields.merge(headers, decision, rendering.reset)
        return replaced(headers, encoded(self.headers.items()))

    @property
    def may_refund(self) -> bool:
        return (self._bill.may_refund and self._decision.charged) or (self._earlier is not None and self._earlier.may_refund)

    def refund(self, response: Response | None) -> Generator[Group, Decision, None]:
        """Give back what the response does not owe, or everything. The headers then show what is left after that."""
        if self._earlier is not None:
            yield from self._earlier.refund(response)
        if self._decision.charged:
            owed = [response is not None and not (limit.refund_when and limit.refund_when(response)) for limit in self._bill.limits]
            self._decision = yield from _given_back(self._decision, owed, self._rendering.prefix)


def _given_back(decision: Decision, owed: Sequence[bool], prefix: str) -> Generator[Group, Decision, Decision]:
    """The decision with the numbers after the refund of the charges that are not owed."""
    if all(owed):
        return decision
    ends, end = [], 0
    for charge in decision.charges:
        end += WIDTH * len(charge.policy.limits)
        ends.append(end)
    spans = [slice(start, end) for start, end, is_owed in zip([0, *ends], ends, owed, strict=False) if not is_owed]
    charges = tuple(charge for charge, is_owed in zip(decision.charges, owed, strict=True) if not is_owed)
    numbers = list(decision.numbers)
    group = refund_of(prefix, decision._replace(charges=charges, numbers=[each for span in spans for each in numbers[span]]), None)
    # Redis may be away by now. Then the units stay charged.
    left = list((yield group).numbers) if group else []
    for span in spans if left else ():
        size = span.stop - span.start
        numbers[span], left = left[:size], left[size:]
    return decision._replace(numbers=tuple(numbers), charged=any(owed))
