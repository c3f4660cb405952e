"""An application in Flask with a client that calls it in this process."""

from contextlib import contextmanager

import flask
from flask.views import MethodView

from limiter import Limiter
from limiter.web.flask import client_address, decision_of, exempt, limit_app, rate_limit
from support.web.endpoints import LIMITS, OWN_HEADERS, PARTS, hiding
from support.web.reply import reply


def limited(path):
    return rate_limit(**LIMITS[path])


def plain():
    decision = decision_of(flask.request)
    return flask.Response("plain" if decision is None or decision.allowed else "denied", headers=OWN_HEADERS)


def address():
    return client_address(flask.request)


def respond(status):
    return "", status


def stream():
    return flask.Response(iter(PARTS))


def fail():
    raise RuntimeError("broken")


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


def empty(name):
    def view():
        return ""

    view.__name__ = view.__qualname__ = name
    return view


VIEWS = {
    "/plain": plain,
    "/address": address,
    "/status/<int:status>": respond,
    "/stream": stream,
    "/fail": fail,
    "/exempt": exempt(empty("exempted")),
    **{path: limited(path)(empty(path[1:])) for path in ("/search", "/priced", "/post", "/a", "/b")},
    "/login/<int:status>": login,
    "/class": Class.as_view("class"),
    "/hidden": hiding(limited("/hidden")(empty("unseen"))),
    "/twice": limited("/twice")(rate_limit("1/minute")(empty("twice"))),
}


@contextmanager
def flask_calls(server, prefix, limits, **options):
    app = flask.Flask("shop")
    app.config["PROPAGATE_EXCEPTIONS"] = False
    for path, view in VIEWS.items():
        app.add_url_rule(path, path, view, methods=["GET", "POST"])
    with Limiter(options.pop("redis", server.url), prefix=prefix, deadline=options.pop("deadline", 5)) as limiter:
        limit_app(app, limiter, limits, **options)
        client = app.test_client()

        def call(path, method="GET", **headers):
            response = client.open(path, method=method, headers={name.replace("_", "-"): value for name, value in headers.items()})
            return reply(response.status_code, response.headers.items(), response.data)

        yield call
