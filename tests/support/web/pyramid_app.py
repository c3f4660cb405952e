"""An application in Pyramid behind the WSGI middleware. It has no endpoints with limits of their own."""

import warnings
from contextlib import contextmanager

from limiter import Limiter
from limiter.web.wsgi import RateLimitMiddleware, Request, decision_of
from support.web.endpoints import OWN_HEADERS, PARTS
from support.web.wsgi_calls import call

with warnings.catch_warnings():
    # WebOb imports cgi.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyramid.config import Configurator
    from pyramid.response import Response


def plain(request):
    decision = decision_of(request.environ)
    text = b"plain" if decision is None or decision.allowed else b"denied"
    return Response(text, headerlist=[*OWN_HEADERS.items(), ("Content-Type", "text/plain")])


def address(request):
    return Response(Request(request.environ).client_address)


def respond(request):
    return Response(status=int(request.matchdict["status"]))


def stream(_request):
    return Response(app_iter=iter(PARTS))


def fail(_request):
    raise RuntimeError("broken")


def on_error(_error, _request):
    return Response(status=500)


VIEWS = {"/plain": plain, "/address": address, "/status/{status}": respond, "/stream": stream, "/fail": fail}


@contextmanager
def pyramid_calls(server, prefix, limits, **options):
    with Configurator() as config:
        for path, view in VIEWS.items():
            config.add_route(path, path)
            config.add_view(view, route_name=path)
        config.add_exception_view(on_error, context=RuntimeError)
    with Limiter(options.pop("redis", server.url), prefix=prefix, deadline=options.pop("deadline", 5)) as limiter:
        app = RateLimitMiddleware(config.make_wsgi_app(), limiter, limits, **options)
        yield lambda path, method="GET", **headers: call(app, path, method, "127.0.0.1", **headers)
