"""Flask: `limit_app` for the application, `rate_limit` for a view.

The limits of a view are decided together with the default limits, before the view is called.

    app = Flask(__name__)
    limit_app(app, "redis://localhost", "100/minute")

    @app.get("/search")
    @rate_limit("10/minute")
    def search() -> str: ...
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, Unpack, cast

from flask import Flask, Request, Response, current_app, request
from flask.sansio.blueprints import Blueprint
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import ServiceUnavailable, TooManyRequests

from limiter.decision import Decision
from limiter.denials import TOO_MANY_REQUESTS
from limiter.errors import LimiterError
from limiter.sync import Limiter
from limiter.web.core.admission import Admission
from limiter.web.core.declaration import Declared, Options
from limiter.web.core.handling import HANDLING, Handling
from limiter.web.core.marks import LimitOptions, Marks, exempt, mark, marks_of, marks_of_view, name_of
from limiter.web.core.rate_limit import PolicyOf, RateLimit
from limiter.web.core.ruling import Denial
from limiter.web.core.running import run
from limiter.web.wsgi import forwarded_for, peer_of

__all__ = ["RateLimit", "client_address", "decision_of", "exempt", "limit_app", "rate_limit"]

F = TypeVar("F", bound=Callable[..., Any] | Blueprint)

OnDenied = Callable[[Request, Denial], ResponseReturnValue]

# Where a Flask application keeps its extensions.
_EXTENSION = "limiter.web"


def limit_app(
    app: Flask,
    redis: Limiter | str,
    limits: Declared[Request] = (),
    *,
    on_denied: OnDenied | None = None,
    **options: Unpack[Options[Request]],
) -> None:
    """Limit all requests to an application, by the address of the client unless a RateLimit says otherwise.

    `redis`: a URL, or a Limiter. `limits`: the default limits. For the other options see `Options`.

    A denial is raised as the exception TooManyRequests or ServiceUnavailable, with the response in it, so that an `app.errorhandler(429)`
    can replace it. Or `on_denied` gets the request and the denial, and returns the response. The headers are added to either.

    Call it before you register other `before_request` functions: a request that one of these answers earlier is not limited.
    """
    if _EXTENSION in app.extensions:
        raise LimiterError(f"limit_app must be called once for the application {app.name!r}: pass all limits in one list")
    limiter = Limiter(redis) if isinstance(redis, str) else redis
    limits_of_app = _Limits(limiter, Admission(limits, prefix=limiter.settings.prefix, **options), on_denied)
    app.before_request(limits_of_app.begin)
    app.after_request(limits_of_app.finish)
    app.teardown_request(limits_of_app.fail)
    app.extensions[_EXTENSION] = limits_of_app


class _Limits:
    def __init__(self, limiter: Limiter, admission: Admission[Request], on_denied: OnDenied | None) -> None:
        self._limiter, self._admission, self._on_denied = limiter, admission, on_denied

    def ensure(self, limit: RateLimit[Request], name: str) -> ResponseReturnValue | None:
        """Decide on a limit that `begin` did not find, because a decorator hides the view."""
        return self._denied(run(self._limiter, _handling().ensure(limit, name)))

    def begin(self) -> ResponseReturnValue | None:
        handling = request.environ[HANDLING] = Handling(self._admission, _Facts())
        return self._denied(run(self._limiter, handling.begin(_marks())))

    def _denied(self, denial: Denial | None) -> ResponseReturnValue | None:
        if denial is None:
            return None
        if self._on_denied is not None:
            return self._on_denied(request, denial)
        kind = TooManyRequests if denial.status == TOO_MANY_REQUESTS else ServiceUnavailable
        raise kind(response=Response(denial.body, denial.status, denial.headers))

    def finish(self, response: Response) -> Response:
        handling = _found()
        if handling is not None:
            for name, value in run(self._limiter, handling.settle(response.status_code, response.headers.items())).items():
                response.headers[name] = value
        return response

    def fail(self, error: BaseException | None) -> None:
        """Without a response, as Flask raises errors of views while it is tested."""
        handling = _found()
        if handling is not None and error is not None:
            run(self._limiter, handling.settle(500))


def rate_limit(policy: PolicyOf[Request], **options: Unpack[LimitOptions[Request]]) -> Callable[[F], F]:
    """Decorate a view function, a class-based view, a method of one, or call it on a Blueprint: `rate_limit("100/minute")(blueprint)`.

    The views of a Blueprint share the count of its limit.
    """
    limit: RateLimit[Request] = RateLimit(policy, **options)

    def decorate(view: F) -> F:
        if isinstance(view, Blueprint | type):
            return cast("F", mark(view, limit))

        @wraps(view)
        def limited(*args: Any, **kwargs: Any) -> Any:
            installed: _Limits | None = current_app.extensions.get(_EXTENSION)
            if installed is None:
                raise LimiterError(f"the rate limit of {name_of(view)} needs limit_app(app, ...), which this application does not have")
            denied = installed.ensure(limit, name_of(view))
            return current_app.ensure_sync(view)(*args, **kwargs) if denied is None else denied

        return cast("F", mark(limited, limit))

    return decorate


def client_address(of: Request) -> str:
    """The address of the client, behind trusted proxies."""
    handling: Handling[Request] = of.environ[HANDLING]
    return handling.client_address


def decision_of(of: Request) -> Decision | None:
    """The decision on the request. None if no limit applies to it."""
    handling: Handling[Request] | None = of.environ.get(HANDLING)
    return handling.decision if handling else None


class _Facts:
    __slots__ = ()

    @property
    def request(self) -> Request:
        return request

    @property
    def method(self) -> str:
        return request.method

    @property
    def paths(self) -> tuple[str]:
        return (request.path,)

    @property
    def peer(self) -> str:
        return peer_of(request.environ)

    @property
    def forwarded_for(self) -> str:
        return forwarded_for(request.environ)


def _found() -> Handling[Request] | None:
    return cast("Handling[Request] | None", request.environ.get(HANDLING))


def _handling() -> Handling[Request]:
    found = _found()
    if found is None:
        raise LimiterError("a view with a rate limit must be called in a request: call app.preprocess_request() first")
    return found


def _marks() -> Marks:
    """Of the view, and of the blueprints that it belongs to."""
    rule, marks = request.url_rule, Marks()
    for name in request.blueprints:
        marks |= marks_of(current_app.blueprints[name], f"blueprint.{name}")
    # Flask itself answers OPTIONS for most views.
    if rule is None or (request.method == "OPTIONS" and getattr(rule, "provide_automatic_options", False)):
        return marks
    return marks | marks_of_view(current_app.view_functions.get(rule.endpoint), request.method)
