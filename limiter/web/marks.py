"""Limits of an endpoint, kept as an attribute of its function, where the framework's module finds them.

An endpoint's limits are decided together with the default limits of the application, unless it is exempt from those.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from limiter.web.rate_limit import RateLimit

F = TypeVar("F", bound=Callable[..., Any])

_ATTRIBUTE = "__rate_limits__"


class Marks(NamedTuple):
    limits: tuple[RateLimit[Any], ...] = ()
    # From the default limits of the application.
    is_exempt: bool = False


def marks_of(endpoint: object) -> Marks:
    found: Marks = getattr(endpoint, _ATTRIBUTE, Marks())
    return found


def exempt(endpoint: F) -> F:
    """Decorate an endpoint that the default limits do not apply to."""
    setattr(endpoint, _ATTRIBUTE, marks_of(endpoint)._replace(is_exempt=True))
    return endpoint


def mark(endpoint: F, limit: RateLimit[Any]) -> F:
    """Add a limit. Without a name of its own, it counts by the name of the endpoint."""
    marks = marks_of(endpoint)
    setattr(endpoint, _ATTRIBUTE, marks._replace(limits=(*marks.limits, limit.named(name_of(endpoint, len(marks.limits))))))
    return endpoint


def name_of(endpoint: object, place: int) -> str:
    """`shop.views.search`, and `shop.views.search.2` for its second limit."""
    name = f"{getattr(endpoint, '__module__', '')}.{getattr(endpoint, '__qualname__', type(endpoint).__qualname__)}"
    return f"{name}.{place + 1}" if place else name
