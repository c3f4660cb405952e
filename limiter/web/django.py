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
from functools import wraps
from inspect import isawaitable
from typing import Any, TypeVar, Unpack, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator

from limiter.decision import Decision
from limiter.errors import LimiterError
from limiter.protocol.driver import drive_async
from limiter.protocol.group import Group
from limiter.web.core.admission import Steps
from limiter.web.core.handling import HANDLING, Handling
from limiter.web.core.marks import LimitOptions, Marks, exempt, mark, marks_of, marks_of_view, name_of
from limiter.web.core.rate_limit import PolicyOf, RateLimit
from limiter.web.core.ruling import Denial
from limiter.web.core.running import run, run_async
from limiter.web.django_settings import DjangoFacts, LimiterSettings, installed

__all__ = ["LimiterSettings", "RateLimit", "RateLimitMiddleware", "client_address", "close", "decision_of", "exempt", "rate_limit"]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class RateLimitMiddleware:
    """Limits every request, by the address of its client unless a RateLimit says otherwise.

    Put it first in MIDDLEWARE, so that no other middleware changes its headers.
    """

    sync_capable = async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response
        # A mistake shows when the server starts.
        installed()
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._call_async(request)
        return run(installed().limiter, _finish(request, cast("HttpResponseBase", self._get_response(request))))

    @property
    def process_view(self) -> Callable[..., Any]:
        # Django looks at whether it is async.
        return self._process_view_async if self._is_async else self._process_view

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        response = await cast("Awaitable[HttpResponseBase]", self._get_response(request))
        return await run_async(installed().async_limiter, _finish(request, response))

    def _process_view(self, request: HttpRequest, view: object, *_: object) -> HttpResponseBase | None:
        return run(installed().limiter, _begin_view(request, view))

    async def _process_view_async(self, request: HttpRequest, view: object, *_: object) -> HttpResponseBase | None:
        return await run_async(installed().async_limiter, _begin_view(request, view))


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
    handling = _found(request) or Handling(installed().admission, DjangoFacts(request))
    return handling.client_address


def decision_of(request: HttpRequest) -> Decision | None:
    """The decision on the request. None if no limit applies to it."""
    handling = _found(request)
    return handling.decision if handling else None


async def close() -> None:
    """Close the connections of the running event loop, for example at the end of an async test."""
    limiter = installed().by_loop.pop(asyncio.get_running_loop(), None)
    if limiter is not None:
        await limiter.close()


def _found(request: HttpRequest) -> Handling[HttpRequest] | None:
    # The REST framework wraps the request.
    return cast("Handling[HttpRequest] | None", getattr(request, HANDLING, None))


def _begin(request: HttpRequest, marks: Marks) -> Steps[HttpResponseBase | None]:
    handling = Handling(installed().admission, DjangoFacts(request))
    setattr(request, HANDLING, handling)
    return (yield from _denied(request, (yield from handling.begin(marks))))


def _begin_view(request: HttpRequest, view: object) -> Steps[HttpResponseBase | None]:
    if _found(request) is not None:
        # The middleware is in MIDDLEWARE twice.
        return None
    return (yield from _begin(request, marks_of_view(view, request.method or "")))


def _finish(request: HttpRequest, response: HttpResponseBase) -> Steps[HttpResponseBase]:
    handling = _found(request)
    if handling is None:
        # No view was called: the path has none, or another middleware responded. Such requests count as well.
        response = (yield from _begin(request, Marks())) or response
        handling = cast("Handling[HttpRequest]", _found(request))
    for name, value in (yield from handling.settle(response.status_code, response.items())).items():
        response.headers[name] = value
    return response


def _denied(request: HttpRequest, denial: Denial | None) -> Steps[HttpResponseBase | None]:
    on_denied = installed().on_denied
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


def _request_in(view: Callable[..., Any], args: Sequence[Any]) -> tuple[HttpRequest, str]:
    """The request, and the name of the view: that of the class of its object, which may be a subclass of the one that has the method.

    The request is the first argument, or the second of a method. The REST framework keeps Django's request as `_request`.
    """
    for place, each in enumerate(args[:2]):
        request = getattr(each, "_request", each)
        if isinstance(request, HttpRequest):
            owner = args[0] if place else _bound_to(view)
            return request, name_of(view) if owner is None else _name_of_method(type(owner), view)
    raise LimiterError("rate_limit must decorate a view, whose first argument is a request")


def _name_of_method(owner: type, method: Callable[..., Any]) -> str:
    """As the middleware names it."""
    return f"{name_of(owner)}.{'view' if method.__name__ == 'dispatch' else method.__name__}"


def _enter(request: HttpRequest, limit: RateLimit[HttpRequest], marks: Marks, name: str) -> Steps[tuple[HttpResponseBase | None, bool]]:
    """Before a decorated view: the response to a denial, and whether no middleware will add the headers."""
    handling = _found(request)
    if handling is None:
        return (yield from _begin(request, marks._replace(is_exempt=True))), True
    return (yield from _denied(request, (yield from handling.ensure(limit, name)))), False


def _limited(view: Callable[..., Any], limit: RateLimit[HttpRequest]) -> Callable[..., Any]:
    @wraps(view)
    def limited(*args: Any, **kwargs: Any) -> Any:
        limiter = installed().limiter
        request, name = _request_in(view, args)
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
        request, name = _request_in(view, args)
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
    decide = sync_to_async(installed().limiter.decide, thread_sensitive=False)
    return await drive_async(steps, lambda step: decide(step) if isinstance(step, Group) else step)


def _failed(request: HttpRequest) -> Steps[None]:
    handling = _found(request)
    if handling is not None:
        yield from handling.settle(500)
