"""An application in Flask with a client that calls it in this process."""

from contextlib import contextmanager

import flask
from flask.views import MethodView

from limiter import Limiter
from limiter.web.flask import RateLimits, client_address, decision_of, exempt, rate_limit
from support.web.endpoints import LIMITS, OWN_HEADERS, PARTS, hiding
from support.web.reply import reply


def application(redis, limits, **options) -> flask.Flask:
    app = flask.Flask("shop")
    app.config["PROPAGATE_EXCEPTIONS"] = False
    RateLimits(app, redis, limits, **options)

    def limited(path):
        return rate_limit(**LIMITS[path])

    @app.get("/plain")
    def plain():
        decision = decision_of(flask.request)
        return flask.Response("plain" if decision is None or decision.allowed else "denied", headers=OWN_HEADERS)

    @app.get("/address")
    def address():
        return client_address(flask.request)

    @app.route("/status/<int:status>", methods=["GET", "POST"])
    def respond(status):
        return "", status

    @app.get("/stream")
    def stream():
        return flask.Response(iter(PARTS))

    @app.get("/fail")
    def fail():
        raise RuntimeError("broken")

    app.add_url_rule("/exempt", view_func=exempt(named("exempted", lambda: "")))
    for path in ("/search", "/priced", "/post", "/a", "/b"):
        app.add_url_rule(path, view_func=limited(path)(named(path[1:], lambda: "")), methods=["GET", "POST"])

    @app.get("/login/<int:status>")
    @limited("/login")
    def login(status):
        if status == 500:
            raise RuntimeError("broken")
        return "", status

    class Class(MethodView):
        @limited("/class")
        def get(self):
            return ""

        def post(self):
            return ""

    app.add_url_rule("/class", view_func=Class.as_view("class"))
    app.add_url_rule("/hidden", endpoint="hidden", view_func=hiding(limited("/hidden")(named("unseen", lambda: ""))))
    app.add_url_rule("/twice", view_func=limited("/twice")(rate_limit("1/minute")(named("twice", lambda: ""))))
    return app


def named(name, function):
    function.__name__ = function.__qualname__ = name
    return function


@contextmanager
def flask_calls(server, prefix, limits, **options):
    with Limiter(options.pop("redis", server.url), prefix=prefix, deadline=5) as limiter:
        client = application(limiter, limits, **options).test_client()

        def call(path, method="GET", **headers):
            response = client.open(path, method=method, headers={name.replace("_", "-"): value for name, value in headers.items()})
            return reply(response.status_code, response.headers.items(), response.data)

        yield call
