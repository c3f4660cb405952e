"""The bodies of denials, as problem details: why a request gets 429, or 503."""

from collections.abc import Iterable, Sequence

from limiter.headers import Layout
from limiter.problems import QUOTA_EXCEEDED, REDUCED_CAPACITY, problem_body
from limiter.summary import NEVER, Row

TOO_MANY_REQUESTS, SERVICE_UNAVAILABLE = 429, 503

# An outage says nothing about how long to wait, so clients may soon try again.
OUTAGE_HEADERS = {"Retry-After": "1", "X-RateLimit-Degraded": "closed"}

# The same for every denial, but for the sentence and the names of the limits without room.
_EXCEEDED = problem_body(TOO_MANY_REQUESTS, "%s", kind=QUOTA_EXCEEDED, violated_policies=["%s"])


def exceeded_body(layout: Layout, numbers: Sequence[int], binding: Row, seconds: int) -> bytes:
    return _EXCEEDED % (_detail(binding, numbers[binding.at + 1], seconds), violated(layout, numbers))


def violated(layout: Layout, numbers: Sequence[int]) -> bytes:
    """The names of the limits without room, as inside a JSON list."""
    return b'", "'.join([row.name.encode() for row in layout.rows if numbers[row.at + 1]])


def _detail(binding: Row, wait_us: int, seconds: int) -> bytes:
    name, capacity = binding.name.encode(), binding.capacity
    if wait_us == NEVER:
        return b"The limit '%b' allows %d, less than this request costs: it can never pass." % (name, capacity)
    return b"The limit '%b' allows %d; try again in %d s." % (name, capacity, seconds)


def unavailable_body(policies: Iterable[str]) -> bytes:
    """Redis did not decide, and a policy that fails closed applies."""
    return problem_body(
        SERVICE_UNAVAILABLE,
        "The limiter cannot count at the moment, and this request must be counted; try again.",
        kind=REDUCED_CAPACITY,
        violated_policies=list(dict.fromkeys(policies)),
        degraded="closed",
    )
