"""Whatever clients send, the sidecar answers as intended, does not grow, and decides correctly afterwards. See `support/hostile`.

`--hostile=100000` sends more requests. The seed of each attack is fixed, so a failure happens again.
"""

import json
import socket

import pytest

from support.hostile import scene
from support.hostile.aftermath import Footprint, mistakes_in_log, mistakes_in_redis
from support.hostile.expected import MOST_SHED
from support.hostile.json_bodies import nested
from support.hostile.recorder import Recorder
from support.hostile.sender import Report, fire
from support.hostile.volleys import Attack
from support.servers.redis_server import redis_server
from support.servers.sidecar import sidecar
from support.waiting import eventually

# Bounds a run with many requests.
pytestmark = pytest.mark.timeout(1800)

# The parts of `--hostile`. The admin API has no hot path, and needs ten times as long for a request.
SHARES = {"authorize": 0.7, "proxy": 0.27, "admin": 0.03}
# Below what a peer may have.
CONNECTIONS = {"authorize": 128, "proxy": 128, "admin": 24}
MOST_GROWTH_MB, MOST_LEAKED_MB = 64, 16
# Generated subjects, addresses and accounts come from small sets.
MOST_KEYS, MOST_LOG_LINES = 20_000, 200
# More than the pools of connections to Redis and to the upstream.
MOST_DESCRIPTORS = 64


@pytest.fixture(scope="module")
def redis():
    with redis_server(options=("--rdbcompression", "no")) as running:
        yield running


@pytest.fixture
def requests(request):
    """How many requests the next attack on a target has: a warm-up, then two equal parts."""
    total = request.config.getoption("hostile")
    return lambda target: [int(total * SHARES[target] * part) for part in (0.2, 0.4, 0.4)]


@pytest.fixture
def attacked(redis, tmp_path):
    config = scene.config("attacked", gateway="envoy", v1="token")
    with sidecar(tmp_path, config, redis=redis.url, env={"LIMITER_V1_TOKEN": scene.V1_TOKEN}) as running:
        yield running


@pytest.fixture(scope="module")
def recorder():
    with Recorder() as running:
        yield running


@pytest.fixture
def attacked_proxy(redis, recorder, tmp_path):
    options = ("--upstream", f"http://127.0.0.1:{recorder.port}")
    with sidecar(tmp_path, scene.config("proxied", proxy=True), *options, redis=redis.url) as running:
        yield running


def test_a_seed_determines_the_attack():
    for target in SHARES:
        one, same, other = (list(Attack(seed, target).volleys(200)) for seed in (1, 1, 2))
        assert one == same
        assert one != other


def test_hostile_requests_leave_authorize_and_v1_as_they_were(attacked, redis, requests):
    reports = attack(attacked, attacked.port, "authorize", requests("authorize"))

    assert_intact(attacked, redis, reports)
    assert units_taken(attacked) >= len(set().union(*(report.left for report in reports)))
    assert_five_a_minute(lambda: attacked.ask("/authorize/x", key=scene.AFTERWARDS[0]), 429)
    assert_five_a_minute(lambda: decide(attacked, "take"), None)
    assert_refunds_give_back(attacked)
    assert_stops_cleanly(attacked)


def test_hostile_requests_to_the_admin_listener_change_nothing(attacked, redis, requests):
    reports = attack(attacked, int(attacked.admin.rpartition(":")[2]), "admin", requests("admin"))

    assert_intact(attacked, redis, reports)
    assert attacked.manage("/config", token="").status == 401
    assert attacked.manage("/config").status == 200
    assert_five_a_minute(lambda: attacked.ask("/authorize/x", key=scene.AFTERWARDS[1]), 429)
    assert_stops_cleanly(attacked)


def test_what_reaches_upstream_during_an_attack_is_well_formed_and_was_charged(attacked_proxy, recorder, redis, requests):
    reports = attack(attacked_proxy, attacked_proxy.port, "proxy", requests("proxy"))

    assert not recorder.refused
    assert_intact(attacked_proxy, redis, reports)
    assert set(recorder.by_key) <= {key.encode() for key in (*scene.GOOD, scene.CAPPED)} | {b""}
    assert 0 < recorder.by_key[scene.CAPPED.encode()] <= scene.CAPPED_CAPACITY
    assert recorder.serial <= units_taken(attacked_proxy) + scene.CAPPED_CAPACITY
    assert_five_a_minute(lambda: attacked_proxy.ask("/convert", key=scene.AFTERWARDS[2]), 429)
    assert_stops_cleanly(attacked_proxy)


def test_json_of_any_depth_is_rejected(shared):
    """At one depth, it could be read but not quoted in the error: the answer was 500."""
    headers = {"Content-Type": "application/json"}
    for depth in range(900, 1000):
        body = f'{{"policy": {nested(depth)}, "subject": "key-1"}}'
        assert shared.ask("/v1/take", method="POST", headers=headers, body=body).status == 400


@pytest.mark.parametrize("listener", ["front", "admin"])
def test_invalid_requests_leave_no_lines_in_the_log(shared, listener):
    lines, port = len(shared.log), int(getattr(shared, listener).rpartition(":")[2])
    upgrade = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    for sent in (b"\x00\r\n\r\n", upgrade, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\x00\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
    assert shared.ask().status == 401
    assert shared.log[lines:] == []


def test_exactly_the_admitted_requests_reach_upstream(attacked_proxy, recorder):
    """Without broken requests and cut connections, all counts agree: replies, requests at the upstream, units taken."""
    reached, taken = recorder.serial, units_taken(attacked_proxy)
    report = fire(attacked_proxy.port, Attack(5, "proxy", calm=True).volleys(1000))

    assert not report.failures
    assert len(report.left) == units_taken(attacked_proxy) - taken
    assert len(report.serials) == recorder.serial - reached
    assert 0 <= len(report.serials) - len(report.left) <= scene.CAPPED_CAPACITY
    assert not recorder.refused


def attack(target, port, name, requests) -> list[Report]:
    """Attacks in several parts, and checks that the memory does not grow with them."""
    assert target.ask("/authorize/x", key=scene.GOOD[0]).status == 200
    before, footprints, reports = Footprint.of(target), [], []
    for seed, count in enumerate(requests):
        reports.append(fire(port, Attack(seed, name).volleys(count), connections=CONNECTIONS[name]))
        assert not reports[-1].failures, "\n".join(reports[-1].failures)
        footprints.append(Footprint.of(target))
    warm, first, second = footprints
    assert first.memory - warm.memory < MOST_GROWTH_MB, footprints
    assert second.memory - first.memory < MOST_LEAKED_MB, footprints
    # Idle connections to an upstream are kept for some seconds.
    eventually(lambda: Footprint.of(target).descriptors <= before.descriptors + MOST_DESCRIPTORS, "descriptors to be closed")
    return reports


def assert_intact(target, redis, reports) -> None:
    answered = sum(report.replies for report in reports)
    assert sum(report.shed for report in reports) <= MOST_SHED * answered
    assert answered > 0.5 * sum(report.sent for report in reports)
    with redis.client() as client:
        mistakes = [*mistakes_in_log(target, MOST_LOG_LINES), *mistakes_in_redis(client, MOST_KEYS)]
    assert not mistakes, "\n".join(mistakes[:20])


def assert_five_a_minute(ask, denial) -> None:
    """The first five are admitted, with the right numbers. `denial` is a status, or None for an answer of /v1."""
    for left in (4, 3, 2, 1, 0):
        reply = ask()
        assert reply.status == 200
        numbers = reply.headers if denial else reply.json()["headers"]
        assert denial or reply.json()["allowed"]
        assert (numbers["X-RateLimit-Limit"], numbers["X-RateLimit-Remaining"]) == ("5", str(left))
        assert numbers["RateLimit-Policy"].startswith('"minute";q=5;w=60')
    for _ in range(3):
        reply = ask()
        assert reply.status == (denial or 200)
        assert denial or not reply.json()["allowed"]


def assert_refunds_give_back(target) -> None:
    """Exactly what a take has taken, and once."""
    taken = decide(target, "take", subject="refunded").json()
    for at in (taken["at"] + 1000, taken["at"] - 1000, taken["at"], taken["at"]):
        assert decide(target, "refund", subject="refunded", at=at).status == 200
    assert decide(target, "take", subject="refunded").json()["limits"][0]["remaining"] == 4


def assert_stops_cleanly(target) -> None:
    """With a task left over, the server would wait for it, and then log an error."""
    assert target.stop() == 0
    assert not [line for line in target.log if line["level"] not in ("info", "warning")]


def decide(target, verb: str, *, subject: str = "afterwards", **fields):
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {scene.V1_TOKEN}"}
    body = json.dumps({"policy": "five", "subject": subject, **fields})
    return target.ask(f"/v1/{verb}", method="POST", headers=headers, body=body)


def units_taken(target) -> int:
    reply = target.manage(f"/usage?policy={scene.TOTAL}&subject={scene.ACCOUNT}&account={scene.ACCOUNT}")
    (limit,) = reply.json()["limits"]
    return limit["capacity"] - limit["remaining"]
