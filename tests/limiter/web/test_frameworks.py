"""What holds in every framework: the same application, called through the test client or the server of each."""

import json
from contextlib import ExitStack
from functools import partial

import pytest

from limiter import SlidingWindow
from limiter.web import RateLimit
from support.web.aiohttp_app import aiohttp_calls
from support.web.django_app import django_calls
from support.web.endpoints import PARTS
from support.web.fastapi_app import fastapi_calls
from support.web.flask_app import flask_calls
from support.web.pyramid_app import pyramid_calls

# In these, endpoints have limits of their own by a decorator.
DECORATED = {
    "flask": flask_calls,
    "django": django_calls,
    "django-async": partial(django_calls, is_async=True),
    "aiohttp": aiohttp_calls,
}
# In these, endpoints have limits of their own.
KNOWN = {**DECORATED, "fastapi": fastapi_calls}
FRAMEWORKS = {**KNOWN, "pyramid": pyramid_calls}
NUMBERS = ("ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


@pytest.fixture
def start(server, prefix):
    """`start(framework)("5/minute", trusted_proxies=[...])` starts an application, and returns a function that calls it."""
    with ExitStack() as stack:
        yield lambda name: lambda limits=(), **options: stack.enter_context(FRAMEWORKS[name](server, prefix, limits, **options))


@pytest.fixture(params=FRAMEWORKS)
def app(request, start):
    return start(request.param)


@pytest.fixture(params=KNOWN)
def with_endpoints(request, start):
    return start(request.param)


@pytest.fixture(params=DECORATED)
def with_decorators(request, start):
    return start(request.param)


def test_an_admitted_response_has_the_numbers_and_a_denied_one_the_reason(app):
    call = app("2/minute")
    assert [call("/plain").left for _ in range(2)] == [{"minute": 1}, {"minute": 0}]
    denied = call("/plain")
    assert denied.status == 429
    assert denied.headers["content-type"] == ["application/problem+json"]
    assert json.loads(denied.body)["violated-policies"] == ["minute"]
    assert int(denied.headers["retry-after"][0]) > 0
    assert denied.headers["cache-control"] == ["no-store"]
    assert {*NUMBERS} <= denied.headers.keys()


def test_headers_of_the_endpoint_are_replaced(app):
    admitted = app("5/minute")("/plain")
    assert (admitted.body, admitted.headers["x-own"]) == (b"plain", ["kept"])
    assert admitted.headers["x-ratelimit-limit"] == ["5"]
    assert admitted.headers["x-ratelimit-remaining"] == ["4"]


@pytest.mark.parametrize("options", [{"enabled": False}, {"exempt_paths": ["/plain"]}, {"headers": False}], ids=str)
def test_without_limits_responses_are_unchanged(app, options):
    assert app("5/minute", **options)("/plain").headers["x-ratelimit-limit"] == ["mine"]


def test_default_limits_and_those_of_the_endpoint_are_one_decision(with_endpoints):
    seen = []
    call = with_endpoints("3/minute", on_decision=lambda _, decision: seen.append(decision))
    assert sorted(call("/search").left.values()) == [1, 2]
    call("/search")
    denied = call("/search")
    assert denied.status == 429
    assert sorted(denied.left.values()) == [0, 1]
    assert len(seen) == 3
    assert call("/plain").left == {"minute": 0}, "the denied request must not be charged"


def test_an_exempt_endpoint_has_no_default_limits(with_endpoints):
    call = with_endpoints("1/minute")
    assert [call("/exempt").status for _ in range(3)] == [200] * 3


def test_requests_for_unknown_paths_are_limited(app):
    call = app("2/minute")
    assert [call("/nothing").status for _ in range(3)] == [404, 404, 429]
    assert call("/plain").status == 429


def test_subject_and_cost_come_from_the_request(with_endpoints):
    call = with_endpoints()
    assert call("/priced", x_user="ada", x_cost="7").left == {"minute": 3}
    assert call("/priced", x_user="ada", x_cost="4").status == 429
    assert call("/priced", x_user="bob", x_cost="10").left == {"minute": 0}
    assert call("/priced").left == {}, "without a subject, the limit does not apply"


def test_a_limit_of_some_methods_leaves_the_others_alone(with_endpoints):
    call = with_endpoints()
    assert [call("/post", "POST").status for _ in range(2)] == [200, 429]
    assert call("/post").left == {}


def test_endpoints_of_one_policy_share_its_count(with_endpoints):
    call = with_endpoints()
    assert [call(path).status for path in ("/a", "/b", "/a")] == [200, 200, 429]


def test_a_refund_shows_in_the_response(with_endpoints):
    call = with_endpoints("9/minute")
    left = [tuple(call(f"/login/{status}").left.values()) for status in (200, 401, 200, 500)]
    assert left == [(8, 2), (7, 1), (6, 1), (5, 0)], "default, login"
    assert call("/login/200").status == 429


def test_a_broken_endpoint_is_charged_and_its_response_has_the_numbers(app):
    call = app("2/minute")
    assert [call("/fail").status for _ in range(3)] == [500, 500, 429]


def test_a_default_limit_can_refund_errors_of_the_server(app):
    call = app(RateLimit("1/minute", refund_when=lambda response: response.status >= 500))
    assert [call("/fail").status for _ in range(3)] == [500] * 3
    assert [call("/plain").status for _ in range(2)] == [200, 429]


def test_a_stream_has_the_numbers(app):
    streamed = app("5/minute")("/stream")
    assert (streamed.body, streamed.left) == (b"".join(PARTS), {"minute": 4})


def test_a_method_of_a_class_has_its_own_limit(with_decorators):
    call = with_decorators()
    assert [call("/class").status for _ in range(3)] == [200, 200, 429]
    assert call("/class", "POST").status == 200


def test_two_limits_of_an_endpoint_are_one_decision(with_endpoints):
    call = with_endpoints()
    assert sorted(call("/twice").left.values()) == [0, 4]
    denied = call("/twice")
    assert (denied.status, sorted(denied.left.values())) == (429, [0, 4])


def test_a_limit_holds_behind_a_decorator_that_hides_the_endpoint(with_decorators):
    call = with_decorators("3/minute")
    assert sorted(call("/hidden").left.values()) == [0, 2]
    denied = call("/hidden")
    assert (denied.status, denied.headers["content-type"]) == (429, ["application/problem+json"])
    assert call("/plain").left == {"minute": 1}, "what a denied request was charged before must be given back"


def test_clients_behind_a_trusted_proxy_are_told_apart(app):
    call = app("1/minute", trusted_proxies=["127.0.0.1"])
    assert call("/address", x_forwarded_for="198.51.100.9, 198.51.100.1").body == b"198.51.100.1"
    assert call("/plain", x_forwarded_for="198.51.100.1").status == 429
    assert call("/plain", x_forwarded_for="2001:db8::1").status == 200
    assert call("/plain", x_forwarded_for="2001:db8::2").status == 429, "one customer holds a /64"


def test_x_forwarded_for_of_others_is_ignored(app):
    call = app("1/minute")
    assert call("/address", x_forwarded_for="198.51.100.1").body == b"127.0.0.1"
    assert call("/plain", x_forwarded_for="198.51.100.2").status == 429


def test_shadow_limits_count_and_deny_nothing(app):
    seen = []
    call = app("1/minute", shadow=True, on_decision=lambda _, decision: seen.append(decision.limits[0].blocks))
    assert [call("/plain").status for _ in range(2)] == [200, 200]
    assert seen == [False, True]


def test_exempt_requests_are_not_limited(with_endpoints):
    call = with_endpoints("1/minute", exempt_when=lambda request: request.headers.get("x-user") == "monitor")
    assert [call("/search", x_user="monitor").status for _ in range(4)] == [200] * 4


@pytest.mark.parametrize("failure", ["open", "closed"])
def test_without_redis_the_failure_mode_decides(app, failure):
    answered = app([SlidingWindow(5, 60)], failure=failure, redis="redis://127.0.0.1:1")("/plain")
    assert answered.status == {"open": 200, "closed": 503}[failure]
    assert answered.headers["x-ratelimit-degraded"] == [failure]
    assert (answered.headers.get("retry-after"), answered.headers["content-type"]) == {
        "open": (None, answered.headers["content-type"]),
        "closed": (["1"], ["application/problem+json"]),
    }[failure]


def test_a_redis_that_hangs_holds_no_request_up(app, relay):
    call = app("5/minute", redis=relay.url, deadline=0.2)
    released = relay.hold()
    try:
        answered = call("/plain")
    finally:
        released.set()
    assert (answered.status, answered.headers["x-ratelimit-degraded"]) == (200, ["open"])
