"""What is special about Flask."""

import flask
import flask.views
import pytest
from werkzeug.exceptions import HTTPException

from limiter import Limiter, LimiterError
from limiter.web import RateLimit
from limiter.web.flask import exempt, limit_app, rate_limit


@pytest.fixture
def limiter(server, prefix):
    with Limiter(server.url, prefix=prefix, deadline=5) as connected:
        yield connected


@pytest.fixture
def app():
    return flask.Flask("shop")


def test_an_error_handler_of_the_application_responds_to_denials(app, limiter):
    limit_app(app, limiter, "1/minute")

    @app.errorhandler(HTTPException)
    def as_json(error):
        return {"error": error.name}, error.code

    client = app.test_client()
    client.get("/")
    denied = client.get("/")
    assert (denied.status_code, denied.json) == (429, {"error": "Too Many Requests"})
    assert denied.headers["Retry-After"]
    assert denied.headers["X-RateLimit-Remaining"] == "0"


def test_a_failure_mode_raises_service_unavailable(app):
    away = Limiter("redis://127.0.0.1:1")
    limit_app(app, away, "1/minute", failure="closed")
    app.register_error_handler(503, lambda error: (f"own {error.code}", 503))
    refused = app.test_client().get("/")
    assert (refused.text, refused.headers["Retry-After"]) == ("own 503", "1")


def test_an_own_response_to_denials_gets_the_headers(app, limiter):
    limit_app(app, limiter, "1/minute", on_denied=lambda request, denial: (f"{request.path} {denial.status}", 403))
    client = app.test_client()
    client.get("/tea")
    denied = client.get("/tea")
    assert (denied.status_code, denied.text, "Retry-After" in denied.headers) == (403, "/tea 429", True)


def test_the_views_of_a_blueprint_share_its_limit(app, limiter):
    blueprint = flask.Blueprint("api", __name__)
    inner = flask.Blueprint("inner", __name__)
    for each in (blueprint, inner):
        for name in ("one", "two"):
            each.add_url_rule(f"/{each.name}/{name}", name, lambda: "")
    rate_limit("3/minute")(blueprint)
    rate_limit("1/minute")(inner)
    blueprint.register_blueprint(inner)
    app.register_blueprint(blueprint)
    limit_app(app, limiter)
    client = app.test_client()
    paths = ("/api/one", "/inner/one", "/inner/two", "/api/two", "/api/one")
    assert [client.get(path).status_code for path in paths] == [200, 200, 429, 200, 429]


def test_a_blueprint_can_be_exempt(app, limiter):
    blueprint = flask.Blueprint("health", __name__)
    blueprint.add_url_rule("/health", view_func=lambda: "ok", endpoint="health")
    app.register_blueprint(exempt(blueprint))
    limit_app(app, limiter, "1/minute")
    client = app.test_client()
    assert [client.get("/health").status_code for _ in range(3)] == [200] * 3


def test_head_counts_as_the_get_of_a_class(app, limiter):
    class Class(flask.views.MethodView):
        @rate_limit("1/minute")
        def get(self):
            return ""

    app.add_url_rule("/class", view_func=Class.as_view("class"))
    limit_app(app, limiter)
    client = app.test_client()
    assert [client.head("/class").status_code, client.get("/class").status_code] == [200, 429]


def test_subclasses_of_a_limited_class_count_by_themselves(app, limiter):
    class Listing(flask.views.View):
        decorators = (rate_limit("1/minute"),)

        def dispatch_request(self):
            return ""

    for name in ("Books", "Films"):
        kind = type(name, (Listing,), {"__module__": "shop"})
        app.add_url_rule(f"/{name}", view_func=kind.as_view(name))
    limit_app(app, limiter)
    client = app.test_client()
    assert [client.get(path).status_code for path in ("/Books", "/Films", "/Books")] == [200, 200, 429]


def test_an_answer_to_options_by_flask_does_not_charge_the_view(app, limiter):
    app.add_url_rule("/", view_func=rate_limit("1/minute")(lambda: ""), endpoint="index")
    limit_app(app, limiter)
    client = app.test_client()
    assert [client.options("/").status_code, client.get("/").status_code] == [200, 200]


def test_async_views_are_limited(app, limiter):
    @app.get("/")
    @rate_limit("1/minute")
    async def index():
        return "async"

    limit_app(app, limiter)
    client = app.test_client()
    assert [client.get("/").status_code for _ in range(2)] == [200, 429]


def test_a_limit_in_an_application_without_rate_limits_is_an_error(app):
    app.testing = True

    @app.get("/")
    @rate_limit("1/minute")
    def index():
        return ""

    with pytest.raises(LimiterError, match=r"the rate limit of .*index needs limit_app\(app, ...\)"):
        app.test_client().get("/")


def test_an_error_that_flask_raises_in_tests_is_refunded(app, limiter):
    app.testing = True
    limit_app(app, limiter)

    @app.get("/")
    @rate_limit("1/minute", refund_when=lambda response: response.status == 500)
    def index():
        if flask.request.args:
            raise RuntimeError("broken")
        return ""

    client = app.test_client()
    with pytest.raises(RuntimeError, match="broken"):
        client.get("/?fail=1")
    assert [client.get("/").status_code for _ in range(2)] == [200, 429]


def test_a_response_that_fails_after_ours_is_refunded_once(app, limiter):
    breaks, refunds = [], []

    @app.after_request
    def break_some(response):
        if breaks:
            raise breaks.pop()
        return response

    app.config["PROPAGATE_EXCEPTIONS"] = False
    limit_app(app, limiter, ["9/minute", RateLimit("9/minute", name="refunded", refund_when=lambda _: bool(refunds))])
    client = app.test_client()
    client.get("/")
    breaks.append(RuntimeError("broken"))
    refunds.append(True)
    assert client.get("/").status_code == 500
    refunds.clear()
    assert '"refunded.minute";r=7;' in client.get("/").headers["RateLimit"]


def test_requests_in_one_application_context_do_not_share_a_decision(app, limiter):
    limit_app(app, limiter, "5/minute", exempt_paths=["/free"])
    app.add_url_rule("/", view_func=lambda: "", endpoint="index")
    app.add_url_rule("/free", view_func=lambda: "", endpoint="free")
    with app.app_context():
        client = app.test_client()
        assert "RateLimit" in client.get("/").headers
        assert "RateLimit" not in client.get("/free").headers


def test_an_application_is_limited_once(app, limiter):
    limit_app(app, limiter, "1/minute")
    with pytest.raises(LimiterError, match="limit_app must be called once for the application 'shop'"):
        limit_app(app, limiter, "2/minute")
