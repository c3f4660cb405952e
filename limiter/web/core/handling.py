"""`Handling`: one request and its response, for the frameworks that call the endpoint themselves. Without I/O.

Its methods are steps for `run` or `run_async`, like those of `Admission`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from limiter.decision import Decision
from limiter.web.core.admission import Admission, Facts, Steps
from limiter.web.core.marks import Marks
from limiter.web.core.rate_limit import RateLimit, Response
from limiter.web.core.ruling import Denial, Ruling

R = TypeVar("R")

# Where a framework's request keeps its handling.
HANDLING = "limiter.web"

_NONE = Marks()


class Handling(Generic[R]):
    __slots__ = ("_is_settled", "_sources", "admission", "facts", "ruling")

    def __init__(self, admission: Admission[R], facts: Facts[R]) -> None:
        self.admission, self.facts = admission, facts
        self.ruling: Ruling | None = None
        self._sources: tuple[RateLimit[Any], ...] = ()
        self._is_settled = False

    @property
    def decision(self) -> Decision | None:
        return self.ruling.decision if self.ruling else None

    @property
    def client_address(self) -> str:
        return self.admission.client_address(self.facts)

    def begin(self, marks: Marks = _NONE) -> Steps[Denial | None]:
        """Decide on the default limits and on those of the endpoint, together."""
        self._sources = marks.sources
        self.ruling = yield from self.admission.admit(self.facts, marks.limits, defaults=not marks.is_exempt)
        return self.ruling.denial if self.ruling else None

    def ensure(self, source: RateLimit[R], name: str) -> Steps[Denial | None]:
        """Decide on a limit that `begin` did not know of, because a decorator hides the endpoint."""
        if source in self._sources:
            return None
        self._sources += (source,)
        self.ruling = yield from self.admission.admit_more(self.facts, self.ruling, [source.named(name)])
        return self.ruling.denial if self.ruling else None

    def settle(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> Steps[Mapping[str, str]]:
        """Give back what the response does not owe. Returns our headers for it."""
        ruling = self.ruling
        if ruling is None:
            return {}
        denial = ruling.denial
        if denial:
            return headers_of(denial)
        if ruling.may_refund and not self._is_settled:
            self._is_settled = True
            yield from ruling.refund(Response(status, {name.lower(): value for name, value in headers}))
        return ruling.headers


def headers_of(denial: Denial) -> Mapping[str, str]:
    """For a response that the application makes itself."""
    return {name: value for name, value in denial.headers.items() if name != "Content-Type"}
