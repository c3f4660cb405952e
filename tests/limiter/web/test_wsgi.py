"""The WSGI middleware: what WSGI allows an application to do, and servers that run it."""

import json

import pytest

from limiter import Limiter
from limiter.web import RateLimit
from limiter.web.wsgi import RateLimitMiddleware, decision_of
from support.web.wsgi_calls import call, environ_of, responding

# What an application passes to start_response after an error.
BROKEN = (RuntimeError, RuntimeError("broken"), None)


@pytest.fixture
def limiter(server, prefix):
    with Limiter(server.url, prefix=prefix, deadline=5) as connected:
        yield connected


@pytest.fixture
def limited(limiter):
    """`limited(app, "5/minute", ...)`."""
    return lambda app, limits=(), **options: RateLimitMiddleware(app, limiter, limits, **options)


def failures(limit="2/minute"):
    return RateLimit(limit, refund_when=lambda response: response.status < 500)


def left(app) -> int:
    return call(app, "/other").left["minute"]


def test_an_admitted_response_keeps_its_headers_and_gets_the_numbers(limited):
    admitted = call(limited(responding("200 OK", b"a", b"b"), "2/minute"))
    assert (admitted.status, admitted.body, admitted.left) == (200, b"ab", {"minute": 1})
    assert admitted.headers["x-own"] == ["kept"]
    assert admitted.headers["x-ratelimit-limit"] == ["2"]


def test_a_denied_request_does_not_reach_the_application(limited):
    calls = []

    def app(environ, start_response):
        calls.append(environ)
        return responding()(environ, start_response)

    middleware = limited(app, "1/minute")
    call(middleware)
    denied = call(middleware)
    assert (denied.status, len(calls)) == (429, 1)
    assert denied.headers["content-length"] == [str(len(denied.body))]
    assert json.loads(denied.body)["violated-policies"] == ["minute"]


def test_a_denied_head_request_has_no_body(limited):
    middleware = limited(responding(), "1/minute")
    call(middleware)
    denied = call(middleware, method="HEAD")
    assert (denied.status, denied.body) == (429, b"")
    assert int(denied.headers["content-length"][0]) > 0


def test_the_application_finds_the_decision_in_its_environ(limited):
    seen = []

    def app(environ, start_response):
        seen.append(decision_of(environ))
        return responding()(environ, start_response)

    call(limited(app, "5/minute"))
    call(limited(app))
    assert (seen[0].remaining, seen[1]) == (4, None)


def test_the_server_gets_the_iterable_of_the_application(limited):
    """It may be a file that the server sends with sendfile, or have a length."""
    body = [b"a"]

    def app(_environ, start_response):
        start_response("200 OK", [])
        return body

    assert limited(app, "5/minute")(environ_of(), lambda *_: None) is body


def test_functions_get_the_request(limited):
    seen = []
    limit = RateLimit("5/minute", subject=lambda request: seen.append(request) or request.client_address)
    middleware = limited(responding(), limit, trusted_proxies=["203.0.113.0/24"])
    call(middleware, "/caf\xc3\xa9", "POST", x_forwarded_for="198.51.100.1", x_user="ada")
    (request,) = seen
    assert (request.method, request.path, request.headers["x-user"]) == ("POST", "/café", "ada")
    assert (request.client_address, request.query) == ("198.51.100.1", {})


@pytest.mark.parametrize("peer", ["", "localhost", "unix:/run/app.sock"])
def test_the_peer_on_a_unix_socket_has_no_address(limited, peer):
    middleware = limited(responding(), "1/minute", trusted_proxies=["unix:"])
    assert call(middleware, peer=peer, x_forwarded_for="198.51.100.1").status == 200
    assert call(middleware, peer=peer, x_forwarded_for="198.51.100.2").status == 200
    assert call(middleware, peer=peer, x_forwarded_for="198.51.100.1").status == 429


def test_an_own_response_to_denials_gets_the_headers(limited):
    def respond(request, denial):
        return responding("418 I'm a teapot", f"{request.path} {denial.status}".encode())

    middleware = limited(responding(), "1/minute", on_denied=respond)
    call(middleware)
    denied = call(middleware, "/tea")
    assert (denied.status, denied.body, denied.left) == (418, b"/tea 429", {"minute": 0})
    assert denied.headers["content-type"] == ["text/plain"]
    assert "retry-after" in denied.headers


@pytest.mark.parametrize("limit", ["2/minute", failures()])
def test_the_body_is_closed(limited, limit):
    closed = []

    class Body(list):
        def close(self):
            closed.append(self)

    def app(_environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Body([b"a"])

    assert call(limited(app, limit)).body == b"a"
    assert len(closed) == 1


@pytest.mark.parametrize("limit", ["2/minute", failures()])
def test_an_application_may_write(limited, limit):
    def app(_environ, start_response):
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"written ")
        return [b"returned"]

    answered = call(limited(app, limit))
    assert answered.body == b"written returned"
    assert "minute" in answered.left


@pytest.mark.parametrize("limit", ["2/minute", failures()])
def test_a_response_that_the_application_replaces_is_not_sent(limited, limit):
    def app(_environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        start_response("500 Internal Server Error", [("Content-Type", "text/plain")], BROKEN)
        return [b"sorry"]

    assert call(limited(app, limit)).status == 500


@pytest.mark.parametrize("limit", ["2/minute", failures()])
def test_an_error_after_the_first_bytes_reaches_the_server(limited, limit):
    def app(_environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"first"
        start_response("500 Internal Server Error", [("Content-Type", "text/plain")], BROKEN)

    with pytest.raises(RuntimeError, match="broken"):
        call(limited(app, limit))


def test_a_response_is_refunded_by_the_status_that_is_sent(limited):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        if environ["PATH_INFO"] == "/replaced":
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")], BROKEN)
        return [b"", b"body"]

    middleware = limited(app, failures())
    assert [call(middleware, path).left["minute"] for path in ("/", "/", "/replaced", "/")] == [2, 2, 1, 1]


def test_an_empty_part_of_the_body_does_not_send_the_status(limited):
    def app(_environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b""
        start_response("500 Internal Server Error", [("Content-Type", "text/plain")], BROKEN)
        yield b"sorry"

    answered = call(limited(app, failures()))
    assert (answered.status, answered.left) == (500, {"minute": 1})


def raising(_environ, _start_response):
    raise RuntimeError("broken")


def raising_later(_environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    raise RuntimeError("broken")
    yield b""


@pytest.mark.parametrize("app", [raising, raising_later])
def test_an_application_that_raises_is_refunded_like_a_500(limited, app):
    middleware = limited(
        lambda environ, start: (app if environ["PATH_INFO"] == "/" else responding())(environ, start),
        RateLimit("2/minute", refund_when=lambda response: response.status == 500),
    )
    with pytest.raises(RuntimeError, match="broken"):
        call(middleware)
    assert left(middleware) == 1


def test_a_client_that_leaves_before_the_response_is_charged(limited):
    middleware = limited(responding("200 OK", b"a"), failures())
    body = middleware(environ_of(), lambda *_: None)
    body.close()
    assert left(middleware) == 1


def test_a_second_start_without_an_error_is_a_mistake(limited):
    def app(_environ, start_response):
        start_response("200 OK", [])
        start_response("200 OK", [])
        return []

    with pytest.raises(AssertionError, match="start_response must be called once"):
        limited(app, failures())(environ_of(), lambda *_: None)
