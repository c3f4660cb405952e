"""Moving from slowapi, Flask-Limiter and fastapi-limiter: their application and ours admit the same, and differ as the pages say."""

import pytest

from support.moving import ACCOUNT, NOWHERE, admitted, block, called, run

SERIES = {
    "the default limits": ([("GET", "/items")], (100, 429)),
    "the limits of an endpoint, by account": ([("GET", "/search", ACCOUNT)], (10, 429)),
    "a cost": ([("POST", "/export")], (4, 429)),
    "a shared limit": ([("POST", "/charts"), ("POST", "/reports")], (6, 429)),
    "an exempt endpoint": ([("GET", "/health")], (110, 0)),
    "failed logins": ([("POST", "/login")], (5, 429)),
}
PAGES = [("slowapi", "slowapi", [*SERIES][:5]), ("flask-limiter", "Flask-Limiter", [*SERIES])]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("page", "theirs", "series"), [(page, theirs, name) for page, theirs, names in PAGES for name in names])
def test_their_application_and_ours_admit_the_same(apps, page, theirs, series):
    requests, expected = SERIES[series]
    assert [admitted(call, *requests) for call in apps(page, theirs)] == [expected, expected]


def test_successful_logins_are_not_charged(apps):
    right = ("POST", "/login", {"x-password": "right"})
    assert [admitted(call, right, most=8) for call in apps("flask-limiter", "Flask-Limiter")] == [(8, 0), (8, 0)]


def test_each_view_can_have_a_count_of_its_own_in_flask(our_redis):
    app = run(block("flask-limiter", "limiter, a count for each view"), our_redis)["app"]
    for name in ("one", "two"):
        app.add_url_rule(f"/{name}", name, lambda: "")
    with called(app) as call:
        left = [call("GET", path).headers["X-RateLimit-Remaining"] for path in ("/one", "/two", "/one")]
    assert left == ["99", "99", "98"]


def test_each_route_can_have_a_count_of_its_own_in_fastapi(our_redis):
    app = run(block("slowapi", "limiter, a count for each route"), our_redis)["app"]

    @app.get("/one")
    def one():
        return ""

    @app.get("/two")
    def two():
        return ""

    with called(app) as call:
        left = [call("GET", path).headers["X-RateLimit-Remaining"] for path in ("/one", "/two", "/one")]
    assert left == ["99", "99", "98"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("page", "theirs"), [("slowapi", "slowapi"), ("flask-limiter", "Flask-Limiter")])
def test_their_default_limits_count_each_endpoint_and_ours_all_of_them(apps, page, theirs):
    """And a limit of the endpoint replaces their default, but is added to ours."""
    series = [("GET", "/items"), ("GET", "/search", ACCOUNT), ("GET", "/missing"), ("GET", "/items")]
    left = [[call(*each).headers.get("X-RateLimit-Remaining") for each in series] for call in apps(page, theirs)]
    assert left == [["99", "9", None, "98"], ["99", "9", "97", "96"]]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("page", "theirs"), [("slowapi", "slowapi"), ("flask-limiter", "Flask-Limiter")])
def test_headers_and_bodies_differ_as_the_page_says(apps, page, theirs):
    before, after = apps(page, theirs)
    admitted_before, admitted_after = before("POST", "/export"), after("POST", "/export")
    assert float(admitted_before.headers["X-RateLimit-Reset"]) > 1_000_000_000
    assert int(admitted_after.headers["X-RateLimit-Reset"]) <= 3600
    assert "Retry-After" in admitted_before.headers
    assert "Retry-After" not in admitted_after.headers
    admitted(before, ("POST", "/export"))
    admitted(after, ("POST", "/export"))
    kinds = [call("POST", "/export").headers["Content-Type"].partition(";")[0] for call in (before, after)]
    assert kinds == ["application/json" if page == "slowapi" else "text/html", "application/problem+json"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("page", "theirs"), [("slowapi", "slowapi"), ("flask-limiter", "Flask-Limiter")])
@pytest.mark.parametrize("path", ["/items", "/search"])
def test_without_redis_theirs_fails_and_ours_admits(our_redis, page, theirs, path):
    assert our_redis
    statuses = []
    for title in (theirs, "limiter"):
        with called(run(block(page, title), NOWHERE)["app"]) as call:
            statuses.append(call("GET", path, ACCOUNT).status_code)
    assert statuses == [500, 200]


def test_slowapi_fails_even_if_it_swallows_errors():
    swallowing = block("slowapi", "slowapi").replace("headers_enabled=True", "swallow_errors=True")
    with called(run(swallowing, NOWHERE)["app"]) as call:
        assert call("GET", "/search", ACCOUNT).status_code == 500


def test_fastapi_limiter_shares_a_count_between_clients_and_ours_does_not(apps):
    before, after = apps("fastapi-limiter", "fastapi-limiter")
    for call, expected in ((before, (0, 429)), (after, (10, 429))):
        assert admitted(call, ("GET", "/search", ACCOUNT)) == (10, 429)
        assert admitted(call, ("GET", "/search", {"x-account": "globex"})) == expected
        assert admitted(call, ("GET", "/items")) == (110, 0)
    assert before("GET", "/search", ACCOUNT).headers.keys() & {"retry-after", "x-ratelimit-limit"} == set()


def test_shadow_mode_reports_and_leaves_the_headers_of_the_old_limiter(our_redis, caplog):
    app = run(block("README", "limiter, in shadow mode"), our_redis)["app"]

    @app.get("/items")
    def items():
        from starlette.responses import Response  # noqa: PLC0415

        return Response(headers={"X-RateLimit-Limit": "old"})

    with called(app) as call:
        assert {call("GET", "/items").status_code for _ in range(102)} == {200}
        assert call("GET", "/items").headers["X-RateLimit-Limit"] == "old"
    assert caplog.messages == ["would deny /items by minute"] * 3


BESIDE = "\nfrom limiter.web.{framework} import limit_app\nlimit_app(app, {url!r}, '2/minute', shadow=True)\n"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("page", "theirs", "framework"), [("slowapi", "slowapi", "fastapi"), ("flask-limiter", "Flask-Limiter", "flask")])
def test_ours_in_shadow_mode_changes_nothing_beside_theirs(their_redis, our_redis, page, theirs, framework):
    code = block(page, theirs).replace("redis://localhost", their_redis) + BESIDE.format(framework=framework, url=our_redis)
    with called(run(code, their_redis)["app"]) as call:
        assert call("GET", "/search", ACCOUNT).headers["X-RateLimit-Limit"] == "10"
        assert admitted(call, ("GET", "/search", ACCOUNT)) == (9, 429)
