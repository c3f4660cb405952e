"""FastAPI: the limits of routes, and what FastAPI itself makes of them."""

import sys
from contextlib import ExitStack
from functools import cached_property
from typing import Annotated

import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Header, HTTPException, Request, Security, WebSocket, WebSocketDisconnect
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import APIKeyHeader
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse

from limiter import AsyncLimiter, LimiterError, Policy
from limiter.web.asgi import Middleware
from limiter.web.fastapi import RateLimit, client_address, decision_of, exempt, limit_app, rate_limit

LEFT = "x-ratelimit-remaining"


@pytest.fixture
def app(server, prefix):
    """`app.state.limit(...)` adds limits. Their counts are those of the test alone."""
    app = FastAPI()
    app.state.limiter = AsyncLimiter(server.url, prefix=prefix, deadline=5)
    app.state.limit = lambda *limits, **options: limit_app(app, app.state.limiter, limits, **options)
    return app


class Client:
    """Starts the application with the first request, when all of it is declared."""

    def __init__(self, app: FastAPI, stack: ExitStack) -> None:
        self._app, self._stack = app, stack

    @cached_property
    def _started(self) -> TestClient:
        client = self._stack.enter_context(TestClient(self._app, raise_server_exceptions=False))
        self._stack.callback(client.portal.call, self._app.state.limiter.close)
        return client

    def __getattr__(self, name: str):
        return getattr(self._started, name)


@pytest.fixture
def client(app):
    with ExitStack() as stack:
        yield Client(app, stack)


def rates(response) -> dict[str, int]:
    """The units left by the name of the limit."""
    listed = (entry.split(";") for entry in response.headers["ratelimit"].split(", "))
    return {name.strip('"').removesuffix(".minute").rpartition(".")[2]: int(left.removeprefix("r=")) for name, left, _ in listed}


def test_the_limits_of_a_route_join_the_default_limits_in_one_decision(app, client):
    decisions = []
    app.state.limit("10/minute", on_decision=lambda _, decision: decisions.append(decision))

    @app.get("/search", dependencies=[rate_limit("3/minute", cost=2)])
    async def search():
        return {}

    @app.get("/plain")
    async def plain():
        return {}

    assert rates(client.get("/search")) == {"default": 9, "search": 1}
    denied = client.get("/search")
    assert denied.status_code == 429
    assert [name.rpartition(".")[2] for name in denied.json()["violated-policies"]] == ["minute"]
    assert rates(client.get("/plain")) == {"minute": 8}, "the denied request is charged nothing"
    assert len(decisions) == 3


@pytest.mark.parametrize("path", ["/streamed", "/own", "/error", "/handled", "/invalid", "/missing", "/items/x"])
def test_every_response_has_headers(app, client, path):
    app.state.limit("10/minute")

    @app.get("/streamed")
    def streamed():
        return StreamingResponse(iter("abc"))

    @app.get("/own")
    async def own():
        return JSONResponse({}, headers={"x-ratelimit-remaining": "99"})

    @app.get("/error")
    async def error():
        raise HTTPException(403)

    @app.exception_handler(ZeroDivisionError)
    async def handle(_request, _error):
        return JSONResponse({}, 400)

    @app.get("/handled")
    async def handled():
        raise ZeroDivisionError

    @app.get("/invalid")
    async def invalid(number: int):
        return number

    @app.get("/items/{number}")
    async def item(number: int):
        return number

    assert client.get(path).headers.get_list(LEFT) == ["9"]


def test_functions_of_the_request_see_the_path(app, client):
    app.state.limit()

    @app.get("/{tenant}/items", dependencies=[rate_limit("2/minute", subject=lambda request: request.path_params["tenant"])])
    async def items(tenant: str):
        return tenant

    async def user(request: Request) -> str | None:
        return request.headers.get("x-user")

    @app.get("/{tenant}/mine", dependencies=[rate_limit("2/minute", subject=user)])
    async def mine(tenant: str):
        return tenant

    assert [client.get(f"/{tenant}/items").headers[LEFT] for tenant in ("acme", "acme", "other")] == ["1", "0", "1"]
    assert client.get("/acme/mine", headers={"x-user": "ada"}).headers[LEFT] == "1"
    assert LEFT not in client.get("/acme/mine").headers


key = APIKeyHeader(name="x-key")


async def account(key: Annotated[str, Security(key)]) -> str:
    return f"account-of-{key}"


def weight(text: Annotated[str, Body(embed=True)] = "") -> int:
    return len(text)


def test_functions_may_be_dependencies(app, client):
    app.state.limit("10/minute")

    @app.post("/write", dependencies=[rate_limit("10/minute", subject=account, cost=weight)])
    async def write():
        return {}

    for text, left in (("abc", 7), ("abcd", 3)):
        assert rates(client.post("/write", headers={"x-key": "k"}, json={"text": text}))["write"] == left
    denied = client.post("/write", headers={"x-key": "k"}, json={"text": "abcd"})
    assert (denied.status_code, denied.headers["content-type"], rates(denied)) == (
        429,
        "application/problem+json",
        {"default": 8, "write": 3},
    )
    assert rates(client.post("/write", headers={"x-key": "other"}, json={"text": "a"})) == {"default": 7, "write": 9}
    assert client.post("/write").status_code in {401, 403}
    operation = app.openapi()["paths"]["/write"]["post"]
    assert operation["security"] == [{"APIKeyHeader": []}]


@pytest.mark.parametrize("path", ["/login", "/api/login"])
def test_a_path_with_and_without_the_root_path_is_the_same_path(app, client, path):
    app.root_path = "/api"
    app.state.limit(RateLimit("3/minute", paths=[path], name="login"))

    @app.get("/login")
    async def login():
        return {}

    assert [client.get(written).status_code for written in ("/login", "/api/login", "/login", "/api/login", "/login")] == [200] * 3 + [
        429
    ] * 2


def test_long_paths_are_not_kept_in_memory(app, client):
    app.state.limit("100/minute")

    @app.get("/files/{name:path}", dependencies=[rate_limit("2/minute")])
    async def file(name: str):
        return len(name)

    path = f"/files/{'x' * 10_000}"
    assert [client.get(path).status_code for _ in range(3)] == [200, 200, 429]
    (middleware,) = (each for each in app.user_middleware if each.cls is Middleware)
    marks_of = middleware.args[1]
    references = sys.getrefcount(path)
    assert marks_of({"type": "http", "method": "GET", "path": path}).limits
    assert sys.getrefcount(path) == references


def test_an_exempt_endpoint_exempts_no_path_of_another_host(app, client):
    app.state.limit("2/minute")
    other = FastAPI()

    @other.get("/health")
    async def private():
        return {}

    app.host("other.example", other)

    @app.get("/health")
    @exempt
    async def health():
        return {}

    assert [client.get("/health").status_code for _ in range(3)] == [200] * 3
    assert [client.get("/health", headers={"Host": "other.example"}).status_code for _ in range(3)] == [200, 200, 429]


def test_routers_and_mounted_applications_are_limited(app, client):
    app.state.limit("10/minute")
    inner = APIRouter(prefix="/inner")
    outer = APIRouter(prefix="/outer", dependencies=[rate_limit("5/minute", name="outer")])
    mounted = FastAPI()

    @inner.get("/one/{number}", dependencies=[rate_limit("4/minute", name="one")])
    def one(number: int):
        return number

    @outer.get("/two")
    def two():
        return {}

    @mounted.get("/three", dependencies=[rate_limit("3/minute", name="three")])
    def three():
        return {}

    outer.include_router(inner)
    app.include_router(outer, dependencies=[rate_limit("6/minute", name="all")])
    app.mount("/mounted", mounted)
    assert rates(client.get("/outer/inner/one/1")) == {"default": 9, "all": 5, "outer": 4, "one": 3}
    assert rates(client.get("/outer/two")) == {"default": 8, "all": 4, "outer": 3}
    assert [client.get("/mounted/three").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert rates(client.get("/mounted/nothing")) == {"minute": 4}


def test_limits_of_one_name_or_policy_share_a_count_and_others_do_not(app, client):
    app.state.limit()
    shared = Policy("shared", ["5/minute"])

    @app.get("/a", dependencies=[rate_limit(shared), rate_limit("9/minute"), rate_limit("7/minute")])
    async def a():
        return {}

    @app.get("/b", dependencies=[rate_limit(shared), rate_limit("9/minute")])
    async def b():
        return {}

    client.get("/a")
    left = client.get("/b").headers["ratelimit"]
    assert [entry.split(";")[1] for entry in left.split(", ")] == ["r=3", "r=8"]


def test_exempt_routes_have_only_their_own_limits(app, client):
    app.state.limit("10/minute")

    @app.get("/health")
    @exempt
    async def health():
        return {}

    @app.get("/own", dependencies=[rate_limit("5/minute")])
    @exempt
    async def own():
        return {}

    assert LEFT not in client.get("/health").headers
    assert client.get("/own").headers[LEFT] == "4"


def test_a_route_that_is_added_while_running_is_limited_in_a_second_decision(app, client):
    app.state.limit("10/minute")

    @app.get("/first", dependencies=[rate_limit("5/minute")])
    async def first():
        return {}

    client.get("/first")

    @app.get("/late", dependencies=[rate_limit("1/minute")])
    async def late():
        return {}

    assert rates(client.get("/late")) == {"default": 8, "late": 0}
    denied = client.get("/late")
    assert (denied.status_code, rates(denied)) == (429, {"default": 8, "late": 0})


def test_without_the_middleware_the_error_says_what_to_do():
    app = FastAPI()

    @app.get("/", dependencies=[rate_limit("5/minute")])
    async def root():
        return {}

    with TestClient(app) as client, pytest.raises(LimiterError, match="rate_limit needs the middleware: call limit_app"):
        client.get("/")


@pytest.mark.parametrize("subject", [None, account])
def test_a_denied_handshake_gets_the_denial(app, client, subject):
    app.state.limit("10/minute")

    @app.websocket("/ws", dependencies=[rate_limit("1/minute", subject=subject)])
    async def ws(socket: WebSocket):
        await socket.accept()
        await socket.close()

    def connect():
        with client.websocket_connect("/ws", headers={"x-key": "k"}) as session, pytest.raises(WebSocketDisconnect):
            session.receive_text()

    connect()
    with pytest.raises(WebSocketDenialResponse) as denied:
        connect()
    assert (denied.value.status_code, denied.value.json()["status"]) == (429, 429)


def test_handlers_of_the_application_do_not_replace_a_denial_but_on_denied_does(app, client):
    app.state.limit("10/minute", on_denied=lambda _, denial: JSONResponse({"slow": "down"}, denial.status))

    @app.exception_handler(HTTPException)
    async def handle(_request, _error):
        return JSONResponse({}, 400)

    @app.get("/", dependencies=[rate_limit("1/minute", subject=account)])
    async def root():
        return {}

    assert client.get("/", headers={"x-key": "k"}).status_code == 200
    denied = client.get("/", headers={"x-key": "k"})
    assert (denied.status_code, denied.json(), "retry-after" in denied.headers) == (429, {"slow": "down"}, True)


def test_the_schema_documents_the_denials_of_limited_operations(app):
    @app.get("/search", dependencies=[rate_limit("3/minute")])
    async def search():
        return {}

    @app.get("/plain")
    async def plain():
        return {}

    router = APIRouter(prefix="/r", dependencies=[rate_limit("3/minute")])

    @router.post("/{number}", responses={429: {"description": "Mine"}})
    async def routed(number: int):
        return number

    app.include_router(router)
    app.state.limit()
    paths = app.openapi()["paths"]
    response = paths["/search"]["get"]["responses"]["429"]
    assert list(response["content"]) == ["application/problem+json"]
    assert "Retry-After" in response["headers"]
    assert "429" not in paths["/plain"]["get"]["responses"]
    assert paths["/r/{number}"]["post"]["responses"]["429"]["description"] == "Mine"


def test_default_limits_document_their_denials_too(app):
    @app.get("/plain")
    async def plain():
        return {}

    @app.get("/health")
    @exempt
    async def health():
        return {}

    app.state.limit(RateLimit("1/minute"))
    paths = app.openapi()["paths"]
    assert "429" in paths["/plain"]["get"]["responses"]
    assert "429" not in paths["/health"]["get"]["responses"]


def test_refunds_see_the_status_of_the_endpoint(app, client):
    app.state.limit()

    @app.post("/login", dependencies=[rate_limit("2/minute", refund_when=lambda response: response.status < 400)])
    async def login(x_password: Annotated[str, Header()], _: Annotated[None, Depends(lambda: None)]):
        if x_password != "sesame":  # noqa: S105 - of a test
            raise HTTPException(403)

    tries = [client.post("/login", headers={"x-password": password}) for password in ("sesame", "sesame", "a", "b", "sesame")]
    assert [response.status_code for response in tries] == [200, 200, 403, 403, 429]


def test_an_endpoint_can_ask_for_the_address_and_the_decision(app, client):
    user = RateLimit("5/minute", subject=lambda request: request.headers.get("x-user") or client_address(request))
    app.state.limit(user)

    @app.get("/")
    async def root(request: Request):
        decision = decision_of(request)
        return [client_address(request), decision.charges[0].subject, decision.remaining]

    assert client.get("/", headers={"x-user": "ada"}).json() == ["testclient", "ada", 4]
    assert client.get("/").json() == ["testclient", "testclient", 4]


def test_cors_that_is_added_after_the_limits_answers_preflights_and_marks_denials(app, client):
    app.state.limit("1/minute")
    app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example"])
    asked = {"origin": "https://shop.example", "access-control-request-method": "GET"}
    assert [client.options("/", headers=asked).status_code for _ in range(3)] == [200] * 3
    answers = [client.get("/", headers={"origin": "https://shop.example"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [404, 429]
    assert answers[1].headers["access-control-allow-origin"] == "https://shop.example"


def test_an_application_is_limited_once(app):
    app.state.limit("1/minute")
    with pytest.raises(LimiterError, match="limit_app must be called once"):
        app.state.limit("1/minute")
