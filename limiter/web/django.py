"""Django: `RateLimitMiddleware` for the project, `rate_limit` for a view, sync or async, also of the REST framework.

    # settings.py
    MIDDLEWARE = ["limiter.web.django.RateLimitMiddleware", ...]
    LIMITER = {"redis": "redis://localhost", "limits": "100/minute"}

    # views.py
    @rate_limit("10/minute")
    def search(request): ...

The middleware decides on the limits of a view and on the default limits together, just before the view is called. By then all middleware
has run, so functions such as `subject=` can use `request.user`. Under ASGI, it uses an AsyncLimiter: nothing waits for a thread.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache, partial, wraps
from inspect import isawaitable
from typing import Any, NamedTuple, Required, TypeVar, Unpack, cast
from weakref import WeakKeyDictionary

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.utils.module_loading import import_string

from limiter.aio import AsyncLimiter
from limiter.decision import Decision
from limiter.errors import LimiterError
from limiter.protocol.driver import drive_async
from limiter.protocol.group import Group
from limiter.sync import Limiter
from limiter.web.admission import Admission, Steps
from limiter.web.declaration import Declared, Options
from limiter.web.exchange import EXCHANGE, Exchange
from limiter.web.marks import LimitOptions, Marks, exempt, mark, marks_of, marks_of_view, name_of
from limiter.web.rate_limit import PolicyOf, RateLimit
from limiter.web.ruling import Denial
from limiter.web.running import run, run_async
from limiter.web.wsgi import forwarded_for, peer_of

__all__ = ["RateLimit", "RateLimitMiddleware", "Settings", "client_address", "close", "decision_of", "exempt", "rate_limit"]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

OnDenied = Callable[[HttpRequest, Denial], HttpResponseBase | Awaitable[HttpResponseBase]]
GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]

# These may be written as `"package.module.function"`, because settings cannot import from most applications.
_IMPORTED = ("exempt_when", "on_decision", "on_denied")


class Settings(Options[HttpRequest], total=False):
    """`LIMITER` in the settings: the options that all integrations have, and these.

    `redis`: a URL. `limits`: the default limits. `prefix` and `deadline`: as of a Limiter. `on_denied` gets the request and the denial, and
    returns the response; the headers are added to it. `exempt_when`, `on_decision` and `on_denied` may be import paths.
    """

    redis: Required[str]
    limits: Declared[HttpRequest]
    prefix: str
    deadline: float
    on_denied: OnDenied | str


class RateLimitMiddleware:
    """Limits every request, by the address of its client unless a RateLimit says otherwise.

    Put it first in MIDDLEWARE, so that no other middleware changes its headers.
    """

    sync_capable = async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response
        # A mistake shows when the server starts.
        _installed()
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._call_async(request)
        return run(_installed().limiter, _finish(request, cast("HttpResponseBase", self._get_response(request))))

    @property
    def process_view(self) -> Callable[..., Any]:
        # Django looks at whether it is async.
        return self._process_view_async if self._is_async else self._process_view

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        response = await cast("Awaitable[HttpResponseBase]", self._get_response(request))
        return await run_async(_installed().async_limiter, _finish(request, response))

    def _process_view(self, request: HttpRequest, view: object, *_: object) -> HttpResponseBase | None:
        return run(_installed().limiter, _begin(request, marks_of_view(view, request.method or "")))

    async def _process_view_async(self, request: HttpRequest, view: object, *_: object) -> HttpResponseBase | None:
        return await run_async(_installed().async_limiter, _begin(request, marks_of_view(view, request.method or "")))


def rate_limit(policy: PolicyOf[HttpRequest], **options: Unpack[LimitOptions[HttpRequest]]) -> Callable[[F], F]:
    """Decorate a view: a function, sync or async, a class, or a method of one, directly or by Django's `method_decorator`.

    It also works without the middleware. Then the limits of the view are decided when it is called, without the default limits.
    """
    limit: RateLimit[HttpRequest] = RateLimit(policy, **options)

    def decorate(view: F) -> F:
        if isinstance(view, type):
            return cast("F", method_decorator(decorate, name="dispatch")(view))
        limited = (_limited_async if _is_async(view) else _limited)(view, limit)
        return cast("F", mark(limited, limit))

    return decorate


def client_address(request: HttpRequest) -> str:
    """The address of the client, behind trusted proxies."""
    exchange = _found(request) or Exchange(_installed().admission, _Facts(request))
    return exchange.client_address


def decision_of(request: HttpRequest) -> Decision | None:
    """The decision on the request. None if no limit applies to it."""
    exchange = _found(request)
    return exchange.decision if exchange else None


async def close() -> None:
    """Close the connections of the running event loop, for example at the end of an async test."""
    limiter = _installed().by_loop.pop(asyncio.get_running_loop(), None)
    if limiter is not None:
        await limiter.close()


class _Facts:
    __slots__ = ("request",)

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    @property
    def method(self) -> str:
        return self.request.method or ""

    @property
    def path(self) -> str:
        return self.request.path

    @property
    def peer(self) -> str:
        return peer_of(self.request.META)

    @property
    def forwarded_for(self) -> str:
        return forwarded_for(self.request.META)


class _Installed(NamedTuple):
    """What the settings say."""

    limiter: Limiter
    make_async_limiter: Callable[[], AsyncLimiter]
    by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncLimiter]
    admission: Admission[HttpRequest]
    on_denied: OnDenied | None

    @property
    def async_limiter(self) -> AsyncLimiter:
        """Servers have one event loop. Tests have many."""
        loop = asyncio.get_running_loop()
        found = self.by_loop.get(loop)
        if found is None:
            found = self.by_loop[loop] = self.make_async_limiter()
        return found


# Invalidated when a test overrides the settings.
@lru_cache(maxsize=1)
def _installed() -> _Installed:
    written = getattr(settings, "LIMITER", None)
    if not isinstance(written, dict) or not isinstance(written.get("redis"), str):
        # Without the value, which may have a password in it.
        raise ImproperlyConfigured("LIMITER must be a dict with a URL as 'redis', such as {'redis': 'redis://localhost'}")
    for key in written.keys() - Settings.__annotations__.keys() - Options.__annotations__.keys():
        raise ImproperlyConfigured(f"LIMITER must have the keys of limiter.web.django.Settings, not {key!r}")
    given = {key: import_string(value) if key in _IMPORTED and isinstance(value, str) else value for key, value in written.items()}
    client = {key: given.pop(key) for key in ("prefix", "deadline") if key in given}
    source, limits, on_denied = given.pop("redis"), given.pop("limits", ()), given.pop("on_denied", None)
    limiter = Limiter(source, **client)
    admission = Admission(limits, prefix=limiter.settings.prefix, **given)
    return _Installed(limiter, partial(AsyncLimiter, source, **client), WeakKeyDictionary(), admission, on_denied)


def _forget(*, setting: str, **_: object) -> None:
    if setting == "LIMITER" and _installed.cache_info().currsize:
        _installed().limiter.close()
        _installed.cache_clear()


setting_changed.connect(_forget)


def _found(request: HttpRequest) -> Exchange[HttpRequest] | None:
    # The REST framework wraps the request.
    return cast("Exchange[HttpRequest] | None", getattr(request, EXCHANGE, None))


def _begin(request: HttpRequest, marks: Marks) -> Steps[HttpResponseBase | None]:
    exchange = Exchange(_installed().admission, _Facts(request))
    setattr(request, EXCHANGE, exchange)
    return (yield from _denied(request, (yield from exchange.begin(marks))))


def _finish(request: HttpRequest, response: HttpResponseBase) -> Steps[HttpResponseBase]:
    exchange = _found(request)
    if exchange is None:
        # No view was called: the path has none, or another middleware responded. Such requests count as well.
        response = (yield from _begin(request, Marks())) or response
        exchange = cast("Exchange[HttpRequest]", _found(request))
    for name, value in (yield from exchange.settle(response.status_code, response.items())).items():
        response.headers[name] = value
    return response


def _denied(request: HttpRequest, denial: Denial | None) -> Steps[HttpResponseBase | None]:
    on_denied = _installed().on_denied
    if denial is None:
        return None
    if on_denied is None:
        return HttpResponse(denial.body, status=denial.status, headers=denial.headers)
    response = on_denied(request, denial)
    return (yield response) if isawaitable(response) else response


def _is_async(view: Callable[..., Any]) -> bool:
    """Also of `dispatch` in a class with async methods, as `method_decorator` passes it."""
    return iscoroutinefunction(view) or getattr(_bound_to(view), "view_is_async", False)


def _bound_to(view: object) -> object | None:
    """The object of a method that `method_decorator` passes, which is a partial."""
    return getattr(getattr(view, "func", None), "__self__", None)


def _name(view: object, args: Sequence[Any]) -> str:
    """Of the function; for a method, of the class of its object, which may be a subclass of the one that has the method."""
    owner = _bound_to(view) or (args[0] if args and hasattr(args[0], getattr(view, "__name__", "")) else None)
    method = getattr(view, "__name__", "")
    return name_of(view) if owner is None else f"{name_of(type(owner))}.{'view' if method == 'dispatch' else method}"


def _enter(request: HttpRequest, limit: RateLimit[HttpRequest], marks: Marks, name: str) -> Steps[tuple[HttpResponseBase | None, bool]]:
    """Before a decorated view: the response to a denial, and whether no middleware will add the headers."""
    exchange = _found(request)
    if exchange is None:
        return (yield from _begin(request, marks._replace(is_exempt=True))), True
    return (yield from _denied(request, (yield from exchange.ensure(limit, name)))), False


def _limited(view: Callable[..., Any], limit: RateLimit[HttpRequest]) -> Callable[..., Any]:
    @wraps(view)
    def limited(*args: Any, **kwargs: Any) -> Any:
        request, name, limiter = _request_in(args), _name(view, args), _installed().limiter
        response, is_alone = run(limiter, _enter(request, limit, marks_of(limited, name), name))
        try:
            response = response or view(*args, **kwargs)
        except Exception:
            if is_alone:
                run(limiter, _failed(request))
            raise
        return run(limiter, _finish(request, response)) if is_alone else response

    return limited


def _limited_async(view: Callable[..., Any], limit: RateLimit[HttpRequest]) -> Callable[..., Any]:
    @wraps(view)
    async def limited(*args: Any, **kwargs: Any) -> Any:
        request, name = _request_in(args), _name(view, args)
        response, is_alone = await _run_in_thread(_enter(request, limit, marks_of(limited, name), name))
        try:
            response = response or await view(*args, **kwargs)
        except Exception:
            if is_alone:
                await _run_in_thread(_failed(request))
            raise
        return await _run_in_thread(_finish(request, response)) if is_alone else response

    return limited


async def _run_in_thread(steps: Steps[T]) -> T:
    """Under WSGI, each request to an async view has an event loop of its own, which an AsyncLimiter could not outlive."""
    decide = sync_to_async(_installed().limiter.decide, thread_sensitive=False)
    return await drive_async(steps, lambda step: decide(step) if isinstance(step, Group) else step)


def _failed(request: HttpRequest) -> Steps[None]:
    exchange = _found(request)
    if exchange is not None:
        yield from exchange.settle(500)


def _request_in(args: Sequence[Any]) -> HttpRequest:
    """The first argument, or the second of a method. The REST framework keeps Django's request as `_request`."""
    for each in args[:2]:
        found = getattr(each, "_request", each)
        if isinstance(found, HttpRequest):
            return found
    raise LimiterError("rate_limit must decorate a view, whose first argument is a request")
