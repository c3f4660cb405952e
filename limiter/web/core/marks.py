"""Limits of an endpoint, kept as an attribute of its function or class, where the framework's module finds them.

An endpoint's limits are decided together with the default limits of the application, unless it is exempt from those.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar

from limiter.web.core.rate_limit import CostOf, Of, RateLimit, Response

R = TypeVar("R")
T = TypeVar("T")

_ATTRIBUTE = "__rate_limits__"


class LimitOptions(TypedDict, Generic[R], total=False):
    """The fields of a RateLimit that belong to an endpoint, for the decorators of the frameworks."""

    subject: str | Of[R, str | None] | None
    cost: CostOf[R]
    name: str | None
    methods: Iterable[str] | None
    exempt_when: Of[R, bool] | None
    refund_when: Callable[[Response], bool] | None
    shadow: bool


class Marks(NamedTuple):
    # Each has a name.
    limits: tuple[RateLimit[Any], ...] = ()
    # From the default limits of the application.
    is_exempt: bool = False
    # The limits as they were declared, by which a decorated function recognizes its own.
    sources: tuple[RateLimit[Any], ...] = ()

    def __or__(self, other: "Marks") -> "Marks":
        return Marks(self.limits + other.limits, self.is_exempt or other.is_exempt, self.sources + other.sources)


_NONE = Marks()


def marks_of(endpoint: object, name: str | None = None) -> Marks:
    """A limit without a name of its own counts by that of the endpoint."""
    found: Marks = getattr(endpoint, _ATTRIBUTE, _NONE)
    return _named(found, name or name_of(endpoint)) if found.sources else found


def marks_of_view(view: object, method: str) -> Marks:
    """Of a function; or of a class-based view: of its class, and of its handler for this method."""
    owner = _class_of(view)
    if owner is None:
        return marks_of(view)
    handler = method.lower()
    if handler == "head" and not hasattr(owner, "head"):
        handler = "get"
    # A view set of the REST framework maps methods to actions.
    handler = getattr(view, "actions", {}).get(handler, handler)
    name = name_of(owner)
    marks = marks_of(owner) | marks_of(getattr(owner, handler, None), f"{name}.{handler}")
    return marks if owner is view else marks_of(view, f"{name}.view") | marks


def exempt(endpoint: T) -> T:
    """Decorate an endpoint that the default limits do not apply to."""
    setattr(endpoint, _ATTRIBUTE, _raw(endpoint)._replace(is_exempt=True))
    return endpoint


def mark(endpoint: T, limit: RateLimit[Any]) -> T:
    """Add a limit."""
    marks = _raw(endpoint)
    setattr(endpoint, _ATTRIBUTE, marks._replace(sources=(*marks.sources, limit)))
    return endpoint


def name_of(endpoint: object) -> str:
    """`shop.views.search`."""
    named = _class_of(endpoint) or endpoint
    name = getattr(named, "__qualname__", type(named).__qualname__)
    if isinstance(named, type) and "<locals>" in name:
        # A decorator that makes a class of each function gives them all the same qualified name.
        name = named.__name__
    return f"{getattr(named, '__module__', '')}.{name}"


def _raw(endpoint: object) -> Marks:
    found: Marks = getattr(endpoint, _ATTRIBUTE, _NONE)
    return found


# Bounded by its size; never invalidated, as marks do not change. It saves building the limits for each request.
@lru_cache(maxsize=1024)
def _named(marks: Marks, name: str) -> Marks:
    """`shop.views.search`, and `shop.views.search.2` for the second limit."""
    named = [limit.named(f"{name}.{place + 1}" if place else name) for place, limit in enumerate(marks.sources)]
    return marks._replace(limits=tuple(named))


def _class_of(view: object) -> type | None:
    """The class of a class-based view. Django and Flask keep it as `view_class`, the REST framework as `cls`."""
    found = view if isinstance(view, type) else getattr(view, "view_class", None) or getattr(view, "cls", None)
    return found if isinstance(found, type) else None
