"""What is special about Django."""

import asyncio

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import Client, RequestFactory, override_settings

from limiter import LimiterError
from limiter.web import RateLimit
from limiter.web.django import rate_limit
from limiter.web.django_settings import installed
from support.web.django_app import MIDDLEWARE, django_calls, respond_shortly

KINDS_OF_VIEWS = ["/dispatched", "/whole", "/async", "/async-class", "/async-whole"]
KINDS_OF_VIEWS += ["/rest/class", "/rest/set", "/rest/outside", "/rest/inside"]


@pytest.fixture(params=[False, True], ids=["wsgi", "asgi"])
def app(request, server, prefix):
    return lambda limits=(), **options: django_calls(server, prefix, limits, is_async=request.param, **options)


async def respond_later(request, denial):
    await asyncio.sleep(0)
    return respond_shortly(request, denial)


@pytest.mark.parametrize("on_denied", [respond_shortly, "support.web.django_app.respond_shortly"])
def test_an_own_response_to_denials_gets_the_headers(app, on_denied):
    with app("1/minute", on_denied=on_denied) as call:
        call("/plain")
        denied = call("/plain")
    assert (denied.status, denied.body) == (403, b"/plain 429")
    assert "retry-after" in denied.headers


def test_under_asgi_functions_may_be_async(server, prefix):
    async def user(request):
        await asyncio.sleep(0)
        return request.headers.get("x-user")

    with django_calls(server, prefix, RateLimit("1/minute", subject=user), is_async=True, on_denied=respond_later) as call:
        assert [call("/plain", x_user=name).status for name in ("ada", "bob", "ada")] == [200, 200, 403]


def test_functions_can_use_what_all_middleware_adds(app):
    """The decision is made when the middleware that follows has run."""
    limit = RateLimit("1/minute", subject=lambda request: request.tenant)
    with app(limit, middleware=[MIDDLEWARE, "support.web.django_app.add_tenant"]) as call:
        assert [call("/plain", x_tenant=name).status for name in ("a", "b", "a")] == [200, 200, 429]


@pytest.mark.parametrize(
    "path", ["/dispatched", "/whole", "/async", "/async-class", "/async-whole", "/rest/class", "/rest/set", "/rest/outside", "/rest/inside"]
)
@pytest.mark.parametrize("middleware", [[MIDDLEWARE], []], ids=["middleware", "alone"])
def test_every_kind_of_view_can_have_limits(app, path, middleware):
    with app(middleware=middleware) as call:
        admitted, denied = call(path), call(path)
        assert (admitted.status, denied.status) == (200, 429)
        assert sum(admitted.left.values()) == 0
        assert denied.headers["content-type"] == ["application/problem+json"]


# Below `api_view`, a view is hidden.
@pytest.mark.parametrize("path", [path for path in KINDS_OF_VIEWS if path != "/rest/inside"])
def test_the_limits_of_every_kind_of_view_are_known_before_it_is_called(app, path):
    seen = []
    with app("5/minute", on_decision=lambda _, decision: seen.append(len(decision.charges))) as call:
        assert sorted(call(path).left.values()) == [0, 4]
    assert seen == [2]


@pytest.mark.parametrize("middleware", [[MIDDLEWARE], []], ids=["middleware", "alone"])
def test_subclasses_of_a_limited_class_count_by_themselves(app, middleware):
    with app(middleware=middleware) as call:
        assert [call(path).status for path in ("/dispatched", "/whole", "/also-dispatched", "/dispatched")] == [200, 200, 200, 429]


def test_without_middleware_the_limits_of_a_view_are_one_decision(app):
    with app("1/minute", middleware=[]) as call:
        assert sorted(call("/twice").left.values()) == [0, 4]
        assert sorted(call("/twice").left.values()) == [0, 4]


def test_without_middleware_charges_are_refunded(app):
    with app(middleware=[]) as call:
        assert [tuple(call(f"/login/{status}").left.values()) for status in (200, 401, 200)] == [(2,), (1,), (1,)]


def test_a_response_of_another_middleware_is_limited(app):
    with app("1/minute", middleware=[MIDDLEWARE, "support.web.django_app.answer_early"]) as call:
        assert [call("/plain").status for _ in range(2)] == [202, 429]


def test_middleware_that_is_sync_only_keeps_the_limits_under_asgi(server, prefix):
    middleware = [MIDDLEWARE, "support.web.django_app.SyncOnly"]
    with django_calls(server, prefix, "3/minute", is_async=True, middleware=middleware) as call:
        assert [call(path).status for path in ("/search", "/async", "/search", "/plain")] == [200, 200, 200, 429]


def test_a_view_can_be_called_without_a_server(server, prefix):
    view = rate_limit("1/minute")(lambda request: HttpResponse(request.path))
    with django_calls(server, prefix, ()):
        assert [view(RequestFactory().get("/x")).status_code for _ in range(2)] == [200, 429]


def test_views_with_names_like_those_of_a_request_count_by_themselves(server, prefix):
    def body(_request):
        return HttpResponse()

    def path(_request):
        return HttpResponse()

    with django_calls(server, prefix, ()):
        views = [rate_limit("1/minute")(view) for view in (body, path)]
        assert [view(RequestFactory().get("/")).status_code for view in views] == [200, 200]


def test_a_middleware_that_is_listed_twice_charges_once(app):
    with app("5/minute", middleware=[MIDDLEWARE, MIDDLEWARE]) as call:
        assert [call("/plain").left["minute"] for _ in range(2)] == [4, 3]


def test_connections_of_ended_event_loops_are_forgotten(server, prefix):
    with django_calls(server, prefix, ()):
        for _ in range(3):
            asyncio.run(_with_limiter())
        assert len(installed().by_loop) == 1


async def _with_limiter():
    assert installed().async_limiter is installed().async_limiter


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (None, "LIMITER must be a dict with a URL as 'redis'"),
        ({"redis": None}, "LIMITER must be a dict with a URL as 'redis'"),
        ({"redis": "redis://localhost", "limit": "1/s"}, "LIMITER must have the keys of limiter.web.django.LimiterSettings, not 'limit'"),
        ({"redis": "redis://localhost", "limits": "often"}, "limit must be text such as"),
    ],
)
def test_mistakes_in_the_settings_show_at_the_start(written, message):
    with override_settings(LIMITER=written, MIDDLEWARE=[MIDDLEWARE]), pytest.raises((ImproperlyConfigured, LimiterError), match=message):
        Client().get("/plain")


def test_what_is_not_a_view_is_an_error(server, prefix):
    with django_calls(server, prefix, ()), pytest.raises(LimiterError, match="rate_limit must decorate a view"):
        rate_limit("1/minute")(lambda: None)()
