"""The data plane over HTTP: which requests pass, what they cost, and what the answers contain."""

import http.client
import json

import http_sf
import pytest

from support.servers.sidecar import ask


def test_the_answer_to_an_allowed_request_has_the_numbers(shared, key):
    reply = shared.ask(key=key)
    assert reply.status == 200
    assert reply.body == b""
    assert reply.headers["RateLimit-Policy"] == '"minute";q=5;w=60, "hour";q=1000;w=3600'
    assert reply.headers["RateLimit"] == '"minute";r=4;t=60, "hour";r=999;t=3600'
    assert (reply.headers["X-RateLimit-Limit"], reply.headers["X-RateLimit-Remaining"], reply.headers["X-RateLimit-Reset"]) == (
        "5",
        "4",
        "60",
    )


def test_the_answer_to_a_denied_request_has_everything_that_a_client_needs(shared, key):
    assert [shared.ask(key=key).status for _ in range(5)] == [200] * 5
    reply = shared.ask(key=key)
    assert reply.status == 429
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.headers["Cache-Control"] == "no-store"
    assert 55 <= int(reply.headers["Retry-After"]) <= 60
    assert reply.headers["X-RateLimit-Remaining"] == "0"
    assert reply.json() == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": 429,
        "detail": f"The limit 'minute' allows 5; try again in {reply.headers['Retry-After']} s.",
        "violated-policies": ["minute"],
    }


def test_the_headers_are_structured_fields(shared, key):
    reply = shared.ask(key=key)
    policy = http_sf.parse(reply.headers["RateLimit-Policy"].encode(), tltype="list")
    state = http_sf.parse(reply.headers["RateLimit"].encode(), tltype="list")
    assert policy == [("minute", {"q": 5, "w": 60}), ("hour", {"q": 1000, "w": 3600})]
    assert [name for name, _ in state] == ["minute", "hour"]
    assert state[0][1] == {"r": 4, "t": 60}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE"])
def test_any_method_and_any_path_below_authorize_are_accepted(shared, key, method):
    assert shared.ask("/authorize/some/where", method=method, key=key).status in (200, 400)
    assert shared.ask(method=method, key=key).status in (200, 400)


def test_head_is_answered_without_a_body(shared, key):
    for _ in range(5):
        shared.ask(method="HEAD", key=key)
    reply = shared.ask(method="HEAD", key=key)
    assert (reply.status, reply.body) == (429, b"")
    assert int(reply.headers["Content-Length"]) > 0


@pytest.mark.parametrize(
    ("credential", "reason"),
    [
        (None, "no-credential"),
        ("nonsense", "invalid-credential"),
        ("old-secret", "expired-key"),
        ("revoked-secret", "revoked-key"),
        ("x" * 600, "invalid-credential"),
    ],
)
def test_a_request_without_a_valid_key_gets_401_with_the_reason(shared, elsewhere, credential, reason):
    reply = shared.ask(key=credential, headers=elsewhere())
    assert reply.status == 401
    assert reply.json()["reason"] == reason
    assert reply.headers["WWW-Authenticate"].startswith("Bearer ")
    assert credential is None or credential.encode() not in reply.body


def test_a_suspended_account_gets_403(shared):
    reply = shared.ask(key="gone-secret")
    assert (reply.status, reply.json()["reason"]) == (403, "account-suspended")


def test_a_bearer_token_takes_precedence_over_x_api_key(shared, key, elsewhere):
    assert shared.ask(headers={"X-API-Key": key}).status == 200
    assert shared.ask(key=key, headers={"X-API-Key": "nonsense"}).status == 200
    assert shared.ask(key="nonsense", headers={"X-API-Key": key, **elsewhere()}).status == 401


def test_other_authorization_schemes_are_ignored(shared, key):
    assert shared.ask(headers={"Authorization": "Basic eDp5", "X-API-Key": key}).status == 200


def test_two_authorization_headers_are_an_invalid_credential(shared, key, elsewhere):
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
    connection.putrequest("GET", "/authorize")
    for name, value in [("Authorization", f"Bearer {key}"), ("Authorization", "Bearer other"), *elsewhere().items()]:
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 401
    connection.close()


@pytest.mark.parametrize(
    ("address", "status"), [("203.0.113.7", 200), ("::ffff:203.0.113.8", 200), ("2001:db8::1", 200), ("198.51.100.7", 403)]
)
def test_a_key_can_be_restricted_to_addresses(shared, address, status):
    assert shared.ask(key="inside-secret", headers={"X-Forwarded-For": address}).status == status


def test_a_route_can_require_a_scope_and_cost_more(shared, key):
    asked = {"path": "/authorize/convert?x=1", "method": "POST"}
    refused = shared.ask(**asked, key=key)
    assert (refused.status, refused.json()["reason"]) == (403, "missing-scope")
    assert 'scope="convert:write"' in refused.headers["WWW-Authenticate"]
    allowed = shared.ask(**asked, key="writer-secret")
    assert allowed.status == 200
    names = [name for name, _ in http_sf.parse(allowed.headers["RateLimit-Policy"].encode(), tltype="list")]
    assert names == ["burst", "minute"]


def test_an_exempt_route_needs_no_key_and_is_not_counted(shared):
    reply = shared.ask("/authorize/health")
    assert reply.status == 200
    assert reply.headers["RateLimit"] is None


def test_a_cost_above_the_capacity_is_denied_without_retry_after(shared):
    reply = shared.ask("/authorize/huge", key="writer-secret")
    assert reply.status == 429
    assert reply.headers["Retry-After"] is None
    assert "never" in reply.json()["detail"]


def test_a_route_of_cost_0_charges_nothing_but_needs_room(shared, key):
    assert [shared.ask("/authorize/status", key=key).headers["X-RateLimit-Remaining"] for _ in range(2)] == ["5", "5"]
    assert [shared.ask(key=key).status for _ in range(5)] == [200] * 5
    reply = shared.ask("/authorize/status", key=key)
    assert (reply.status, reply.json()["violated-policies"]) == (429, ["minute"])
    assert 55 <= int(reply.headers["Retry-After"]) <= 60


def test_guessing_keys_is_limited_by_address(shared, elsewhere):
    guesser = elsewhere()
    statuses = [shared.ask(key=f"guess-{n}", headers=guesser).status for n in range(6)]
    assert statuses == [401] * 4 + [429] * 2
    reply = shared.ask(key="guess-7", headers=guesser)
    assert reply.json()["type"] == "https://iana.org/assignments/http-problem-types#abnormal-usage-detected"
    assert int(reply.headers["Retry-After"]) >= 1
    assert shared.ask(key="guess", headers=elsewhere()).status == 401


def test_a_loop_without_the_scope_runs_into_429_and_the_key_works_on_other_routes(shared, key):
    assert [shared.ask("/authorize/convert", method="POST", key=key).status for _ in range(6)] == [403] * 4 + [429] * 2
    assert shared.ask("/authorize/convert", method="POST", key=key).json()["type"].endswith("#abnormal-usage-detected")
    reply = shared.ask(key=key)
    assert (reply.status, reply.headers["X-RateLimit-Remaining"]) == (200, "4")


def test_guesses_store_nothing_but_the_count_of_their_address(shared, elsewhere, client):
    guesser = elsewhere()
    for n in range(4):
        shared.ask(key=f"invented-{n}", headers=guesser)
    assert len(client.keys(f"*{guesser['X-Forwarded-For']}*")) == 1
    assert not client.keys("*invented*")


def test_a_request_that_a_gateway_describes_is_refused_without_a_configured_gateway(shared, key):
    reply = shared.ask(key=key, headers={"X-Original-Method": "POST", "X-Original-URI": "/health"})
    assert (reply.status, reply.json()["reason"]) == (403, "gateway-not-configured")


def test_an_unreadable_address_of_the_client_gets_400(shared, key):
    reply = shared.ask(key=key, headers={"X-Forwarded-For": "203.0.113.7, unknown"})
    assert (reply.status, reply.json()["reason"]) == (400, "invalid-forwarded-for")
    assert reply.json()["detail"] == "X-Forwarded-For must list IP addresses, not 'unknown'."


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("//evil/convert", 400, "path-empty-segment"),
        ("/../v1/take", 400, "path-dot-segment"),
        ("/a%2Fb", 400, "path-encoded-slash"),
        ("/health#/../convert", 400, "path-fragment"),
        ("/" + "x" * 4096, 414, "path-too-long"),
    ],
)
def test_a_path_that_servers_read_differently_is_refused_with_a_reason_and_charges_nothing(shared, key, path, status, reason):
    reply = shared.ask(f"/authorize{path}", key=key)
    assert (reply.status, reply.json()["status"], reply.json()["reason"]) == (status, status, reason)
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert "X-RateLimit-Remaining" not in reply.headers
    assert shared.ask(key=key).headers["X-RateLimit-Remaining"] == "4"


@pytest.mark.parametrize("path", ["/", "/authorized", "/%61uthorize/x", "/v1", "/v2/take", "/v1/takes", "/%761/take", "/v1%2Ftake"])
def test_other_paths_get_404(shared, path):
    reply = shared.ask(path)
    assert reply.status == 404
    assert reply.json()["status"] == 404


def test_malformed_http_gets_a_problem(shared):
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
    connection.connect()
    connection.sock.sendall(b"GET /authorize HTTP/1.1\r\nno header\r\n\r\n")
    answer = connection.sock.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 400
    connection.close()


def test_many_requests_share_a_connection(shared, key):
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
    for expected in (200, 200, 200, 200, 200, 429, 429):
        connection.request("POST", "/authorize", b"a body that is ignored", {"Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        response.read()
        assert response.status == expected
    connection.close()


def test_an_http_1_0_connection_is_closed_after_the_answer(shared, key):
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
    connection.connect()
    connection.sock.sendall(f"GET /authorize HTTP/1.0\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
    answer = b"".join(iter(lambda: connection.sock.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    connection.close()


def test_raw_keys_are_in_no_redis_key_and_no_log(shared, key, client):
    shared.ask(key=key)
    shared.ask(key="writer-secret")
    names = b" ".join(client.keys("*"))
    assert key.removesuffix("-secret").encode() in names
    assert b"secret" not in names
    assert "secret" not in json.dumps(shared.log)


def test_the_front_does_not_serve_the_control_plane(shared):
    assert ask(shared.front, "/healthz").status == 404
