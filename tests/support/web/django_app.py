"""An application in Django with clients that call it in this process, by WSGI and by ASGI.

This module is the settings, as far as they are the same for all tests, and the URLs.
"""

import asyncio
from contextlib import contextmanager

import django
from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path as route
from django.utils.decorators import method_decorator, sync_and_async_middleware
from django.views import View

from limiter.web.django import client_address, close, decision_of, exempt, rate_limit
from support.web.endpoints import LIMITS, OWN_HEADERS, PARTS, hiding
from support.web.reply import reply

MIDDLEWARE = "limiter.web.django.RateLimitMiddleware"

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="support.web.django_app",
        SECRET_KEY="secret",  # noqa: S106 - of a test
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        LOGGING_CONFIG=None,
        REST_FRAMEWORK={"UNAUTHENTICATED_USER": None},
    )
    django.setup()

from rest_framework.decorators import api_view  # noqa: E402 - it needs the settings
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework.viewsets import ViewSet  # noqa: E402


def limited(path):
    return rate_limit(**LIMITS[path])


def respond_shortly(request, denial):
    return HttpResponse(f"{request.path} {denial.status}", status=403)


def plain(request):
    decision = decision_of(request)
    return HttpResponse("plain" if decision is None or decision.allowed else "denied", headers=OWN_HEADERS)


def address(request):
    return HttpResponse(client_address(request))


def respond(_request, status):
    return HttpResponse(status=status)


def stream(request):
    async def parts():
        for part in PARTS:
            yield part

    return StreamingHttpResponse(parts() if isinstance(request, ASGIRequest) else iter(PARTS))


def fail(_request):
    raise RuntimeError("broken")


@limited("/login")
def login(_request, status):
    if status == 500:
        raise RuntimeError("broken")
    return HttpResponse(status=status)


class Class(View):
    @limited("/class")
    def get(self, _request):
        return HttpResponse()

    def post(self, _request):
        return HttpResponse()


@method_decorator(rate_limit("1/minute"), name="dispatch")
class Dispatched(View):
    def get(self, _request):
        return HttpResponse()


class AlsoDispatched(Dispatched):
    pass


@rate_limit("1/minute")
class Whole(View):
    def get(self, _request):
        return HttpResponse()


@rate_limit("1/minute")
async def asynchronous(_request):
    await asyncio.sleep(0)
    return HttpResponse()


class AsyncClass(View):
    @method_decorator(rate_limit("1/minute"))
    async def get(self, _request):
        return HttpResponse()


@rate_limit("1/minute")
class AsyncWhole(View):
    async def get(self, _request):
        return HttpResponse()


class Rest(APIView):
    @rate_limit("1/minute")
    def get(self, _request):
        return Response()


class Set(ViewSet):
    @rate_limit("1/minute")
    def list(self, _request):
        return Response()


@rate_limit("1/minute")
@api_view(["GET"])
def outside(_request):
    return Response()


@api_view(["GET"])
@rate_limit("1/minute")
def inside(_request):
    return Response()


def _empty(name):
    def view(_request):
        return HttpResponse()

    view.__name__ = view.__qualname__ = name
    return view


urlpatterns = [
    route("plain", plain),
    route("address", address),
    route("status/<int:status>", respond),
    route("stream", stream),
    route("fail", fail),
    route("exempt", exempt(_empty("exempted"))),
    *[route(each[1:], limited(each)(_empty(each[1:]))) for each in ("/search", "/priced", "/post", "/a", "/b")],
    route("login/<int:status>", login),
    route("class", Class.as_view()),
    route("hidden", hiding(limited("/hidden")(_empty("unseen")))),
    route("twice", limited("/twice")(rate_limit("1/minute")(_empty("twice")))),
    route("dispatched", Dispatched.as_view()),
    route("also-dispatched", AlsoDispatched.as_view()),
    route("whole", Whole.as_view()),
    route("async", asynchronous),
    route("async-class", AsyncClass.as_view()),
    route("async-whole", AsyncWhole.as_view()),
    route("rest/class", Rest.as_view()),
    route("rest/set", Set.as_view({"get": "list"})),
    route("rest/outside", outside),
    route("rest/inside", inside),
]


@contextmanager
def django_calls(server, prefix, limits, *, is_async=False, middleware=(MIDDLEWARE,), urls=__name__, **options):
    """`redis` in the options replaces the URL of the server."""
    written = {"redis": server.url, "prefix": prefix, "deadline": 5, "limits": limits} | options
    with override_settings(LIMITER=written, MIDDLEWARE=list(middleware), ROOT_URLCONF=urls), asyncio.Runner() as runner:
        client = (AsyncClient if is_async else Client)(raise_request_exception=False)

        async def ask(path, method, headers):
            response = await client.generic(method, path, headers=headers)
            body = [part async for part in response] if response.streaming else [response.content]
            return reply(response.status_code, response.items(), b"".join(body))

        def call(path, method="GET", **headers):
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            if is_async:
                return runner.run(ask(path, method, headers))
            response = client.generic(method, path, headers=headers)
            return reply(response.status_code, response.items(), response.getvalue())

        yield call
        runner.run(close())


@sync_and_async_middleware
def add_tenant(get_response):
    def add(request):
        request.tenant = request.headers.get("x-tenant")

    if iscoroutinefunction(get_response):

        async def middleware(request):
            add(request)
            return await get_response(request)

    else:

        def middleware(request):
            add(request)
            return get_response(request)

    return middleware


def answer_early(_get_response):
    return lambda _request: HttpResponse(status=202)


class SyncOnly:
    sync_capable, async_capable = True, False

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)
