"""Redis slow, down, restarted or incoherent: every caller gets an answer in time, and nothing is charged twice.

These tests are about real time. Bounds leave room for a slow machine, and no caller waits for seconds.
"""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from limiter import BackendError, BackendTimeout, Charge, InvalidPolicy, Limiter, Policy, SlidingWindow
from support.drivers import CLIENTS, limiter_of
from support.servers.redis_server import free_port
from support.servers.relay import cut, garbage, lost, whole

DEADLINE, SLACK = 0.15, 2.0
LIMITS = [SlidingWindow(1000, 3600)]
PLAIN = Policy("plain", LIMITS)
OPEN, CLOSED = Policy("open", LIMITS, failure="open"), Policy("closed", LIMITS, failure="closed")


@pytest.fixture(params=CLIENTS)
def client(request):
    return request.param


@pytest.fixture
def limiter(relay, prefix, client):
    """A limiter that goes through the relay, with an open connection."""
    with limiter_of(client, relay.url, prefix=prefix) as connected:
        connected.take(PLAIN, "warm")
        yield connected


@pytest.fixture
def count(server, prefix):
    """The count in Redis, read without the relay."""
    with Limiter(server.url, prefix=prefix, deadline=10) as direct:
        yield lambda policy=PLAIN, subject="key": direct.inspect(policy, subject)[0].used


def elapsed(call):
    start = time.monotonic()
    call()
    return time.monotonic() - start


def test_a_lost_reply_is_a_timeout_within_the_deadline_and_charges_at_most_once(limiter, relay, count):
    relay.answer = lost

    def take():
        with pytest.raises(BackendTimeout, match="within the deadline"):
            limiter.take(PLAIN, "key", deadline=DEADLINE)

    assert DEADLINE * 0.9 <= elapsed(take) < DEADLINE + SLACK
    assert count() <= 1
    assert relay.sent.count(b"EVALSHA") == 2


def test_a_lost_reply_on_a_new_connection_charges_at_most_once(relay, prefix, client, count):
    relay.spoil_decisions(lost)
    with limiter_of(client, relay.url, prefix=prefix) as fresh:
        with pytest.raises(BackendTimeout):
            fresh.take(PLAIN, "key", deadline=DEADLINE)
        assert count() <= 1


def test_after_a_lost_reply_the_next_caller_gets_its_own_answer(limiter, relay, count):
    """The lost reply may still arrive, so its connection is not used again."""
    released = relay.hold()
    with pytest.raises(BackendTimeout):
        limiter.take(PLAIN, "key", 5, deadline=DEADLINE)
    relay.answer = whole
    released.set()
    assert limiter.take(PLAIN, "other").limits[0].used == 1
    assert limiter.take(PLAIN, "key").limits[0].used == 6
    assert count() == 6


@pytest.mark.parametrize("answer", [cut, garbage], ids=["cut", "garbage"])
def test_a_broken_connection_is_a_clear_error_and_the_next_call_works(limiter, relay, count, answer):
    relay.answer = answer
    with pytest.raises(BackendError, match="Redis"):
        limiter.take(PLAIN, "key")
    assert count() <= 1
    relay.answer = whole
    before = count()
    assert limiter.take(PLAIN, "key").limits[0].used == before + 1


@pytest.mark.parametrize("answer", [lost, garbage, cut], ids=["lost", "garbage", "cut"])
def test_the_failure_mode_of_a_policy_decides(limiter, relay, answer):
    relay.answer = answer
    admitted = limiter.take(OPEN, "key", deadline=DEADLINE)
    refused = limiter.take(CLOSED, "key", deadline=DEADLINE)
    assert (admitted.allowed, refused.allowed) == (True, False)
    for decision, said in ((admitted, "admitted, as the policy fails open"), (refused, "refused, as the policy fails closed")):
        assert said in decision.degraded
        assert decision.reason == decision.degraded
        assert decision.limits == ()
        assert (decision.remaining, decision.binding) == (None, None)
    assert refused.retry_after is None
    assert refused.headers() == {"Cache-Control": "no-store"}
    assert admitted.headers() == {}


def test_the_strictest_failure_mode_of_a_decision_wins(limiter, relay):
    relay.answer = cut
    assert not limiter.take([Charge(OPEN, "a"), Charge(CLOSED, "b"), Charge(PLAIN, "c")], account="acme").allowed
    with pytest.raises(BackendError):
        limiter.take([Charge(OPEN, "a"), Charge(PLAIN, "c")], account="acme")


def test_each_of_many_requests_fails_by_its_own_policy(limiter, relay):
    relay.answer = cut
    decisions = limiter.take_many([Charge(OPEN, "a"), Charge(CLOSED, "b"), Charge(OPEN, "c")])
    assert [decision.allowed for decision in decisions] == [True, False, True]
    with pytest.raises(BackendError):
        limiter.take_many([Charge(OPEN, "a"), Charge(PLAIN, "b")])


def test_peeks_and_refunds_fail_by_the_policy_and_a_reset_raises(limiter, relay):
    relay.answer = cut
    assert limiter.peek(OPEN, "key").degraded
    assert limiter.refund(OPEN, "key", at=1).degraded
    assert limiter.inspect(OPEN, "key") == ()
    with pytest.raises(BackendError):
        limiter.reset(OPEN, "key")


def test_a_refused_connection_fails_at_once(prefix, client):
    with limiter_of(client, f"redis://127.0.0.1:{free_port()}", prefix=prefix) as limiter:
        assert elapsed(lambda: limiter.take(OPEN, "key")) < SLACK
        assert limiter.take(OPEN, "key").degraded
        with pytest.raises(BackendError, match="cannot connect to Redis"):
            limiter.take(PLAIN, "key")


def test_the_deadline_holds_on_a_connection_that_never_answers(relay, prefix, client):
    """The handshake gets no reply."""
    relay.answer = lost
    with limiter_of(client, relay.url, prefix=prefix) as limiter:
        assert elapsed(lambda: limiter.take(OPEN, "key", deadline=DEADLINE)) < DEADLINE + SLACK
        with pytest.raises(BackendTimeout):
            limiter.take(PLAIN, "key", deadline=DEADLINE)


def test_the_deadline_covers_all_slow_steps_of_a_new_connection(relay, prefix, client):
    def slow(reply):
        time.sleep(0.8)
        return reply

    relay.answer = slow
    with limiter_of(client, relay.url.removesuffix("/0") + "/3", prefix=prefix) as limiter:
        assert elapsed(lambda: limiter.take(OPEN, "key", deadline=1)) < 2


def test_the_deadline_holds_while_redis_is_paused(own_server, prefix, client):
    with limiter_of(client, own_server.url, prefix=prefix, deadline=DEADLINE) as limiter:
        limiter.take(OPEN, "key", deadline=10)
        own_server.send(signal.SIGSTOP)
        try:
            for _ in range(3):
                assert elapsed(lambda: limiter.take(OPEN, "key")) < DEADLINE + SLACK
                assert limiter.take(OPEN, "key").degraded
            decisions = []
            assert elapsed(lambda: decisions.extend(limiter.take_many([Charge(OPEN, f"key-{n}") for n in range(300)]))) < DEADLINE + SLACK
            assert all(decision.degraded for decision in decisions)
        finally:
            own_server.send(signal.SIGCONT)
        assert not limiter.take(OPEN, "key", deadline=10).degraded


def test_a_restart_of_redis_fails_calls_in_flight_and_none_after(own_server, prefix, client):
    with limiter_of(client, own_server.url, prefix=prefix) as limiter:
        limiter.take(PLAIN, "key")
        own_server.send(signal.SIGSTOP)
        with ThreadPoolExecutor(1) as pool:
            flying = pool.submit(limiter.take, PLAIN, "key")
            threading.Timer(0.1, own_server.send, [signal.SIGKILL]).start()
            with pytest.raises(BackendError, match="Redis") as caught:
                flying.result(30)
        assert not isinstance(caught.value, BackendTimeout)
        own_server.stop()
        own_server.start()
        for _ in range(3):
            assert limiter.take(PLAIN, "key").allowed


def test_a_restart_of_redis_between_calls_has_no_effect(own_server, prefix, client):
    with limiter_of(client, own_server.url, prefix=prefix) as limiter:
        for _ in range(3):
            assert not limiter.take(PLAIN, "key").degraded
            own_server.stop()
            own_server.start()


def test_a_script_that_redis_lost_is_sent_again(limiter, server):
    with server.client() as client:
        for n in range(1, 20):
            client.script_flush()
            assert limiter.take(PLAIN, "key").limits[0].used == n


def test_flushing_scripts_during_traffic_affects_no_caller(limiter, server):
    done = threading.Event()

    def flush():
        with server.client() as client:
            while not done.is_set():
                client.script_flush()

    with ThreadPoolExecutor(1) as pool:
        flushing = pool.submit(flush)
        try:
            used = [limiter.take(PLAIN, "key").limits[0].used for _ in range(200)]
            used += [decision.limits[0].used for decision in limiter.take_many([Charge(PLAIN, "key")] * 300)]
        finally:
            done.set()
        flushing.result()
    assert used[:200] == list(range(1, 201))
    # One take_many may be two concurrent calls, and either may be sent again, so their order varies.
    assert sorted(used) == list(range(1, 501))


def test_a_foreign_value_at_a_key_fails_the_callers_of_that_key_only(limiter, server, prefix):
    key = f"{prefix}:{{strange}}:strange:open"
    with server.client() as client:
        client.lpush(key, "not a state")
        decisions = limiter.take_many([Charge(OPEN, subject) for subject in ("one", "strange", "two", "strange")])
        assert [bool(decision.degraded) for decision in decisions] == [False, True, False, True]
        assert all(decision.allowed for decision in decisions)
        together = limiter.take([Charge(OPEN, "one"), Charge(OPEN, "strange")], account="strange")
        assert together.degraded
        assert not limiter.take(Policy("open", LIMITS, failure="closed"), "strange").allowed
        with pytest.raises(BackendError, match=f"the value at b'{key}' in Redis must be a count: .* prefix="):
            limiter.take(Policy("open", LIMITS), "strange")
        assert client.lrange(key, 0, -1) == [b"not a state"]
        assert not client.exists(f"{prefix}:{{strange}}:one:open")
        client.delete(key)
    assert [decision.limits[0].used for decision in limiter.take_many([Charge(OPEN, "one"), Charge(OPEN, "strange")])] == [2, 1]


def test_an_error_reply_is_reported_and_the_connection_stays_usable(own_server, prefix, client):
    with limiter_of(client, own_server.url, prefix=prefix) as limiter, own_server.client() as admin:
        limiter.take(PLAIN, "key")
        admin.execute_command("ACL", "SETUSER", "default", "-setrange")
        try:
            with pytest.raises(BackendError, match=r"Redis denies access: .* run (this|the 'setrange') command"):
                limiter.take(PLAIN, "key")
        finally:
            admin.execute_command("ACL", "SETUSER", "default", "+setrange")
        assert limiter.take(PLAIN, "key").limits[0].used == 2


def test_a_full_redis_fails_by_the_policy(own_server, prefix, client):
    with limiter_of(client, own_server.url, prefix=prefix) as limiter, own_server.client() as admin:
        limiter.take(OPEN, "key")
        admin.config_set("maxmemory-policy", "noeviction")
        admin.config_set("maxmemory", 1)
        try:
            assert "OOM" in limiter.take(OPEN, "key").degraded
            assert not limiter.take(CLOSED, "key").allowed
        finally:
            admin.config_set("maxmemory", 0)
        assert limiter.take(OPEN, "key").limits[0].used == 2


def test_a_read_only_replica_fails_by_the_policy(own_server, prefix, client):
    with limiter_of(client, own_server.url, prefix=prefix) as limiter, own_server.client() as admin:
        admin.replicaof("127.0.0.1", free_port())
        try:
            assert limiter.take(OPEN, "key").degraded
        finally:
            admin.replicaof("NO", "ONE")
        assert not limiter.take(OPEN, "key").degraded


def test_a_wrong_password_is_an_error_that_does_not_show_it(server, prefix, client):
    url = server.url.replace("redis://", "redis://:hunter2secret@")
    with limiter_of(client, url, prefix=prefix) as limiter, pytest.raises(BackendError, match="Redis") as caught:
        limiter.take(PLAIN, "key")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("failure", ["maybe", "OPEN", "", 5, ["open"], True])
def test_an_unknown_failure_mode_is_refused(failure):
    with pytest.raises(InvalidPolicy, match="failure"):
        Policy("plain", LIMITS, failure=failure)


def frozen(server, seconds: float) -> threading.Timer:
    """Stops the server from now on, and lets it go on later."""
    server.send(signal.SIGSTOP)
    timer = threading.Timer(seconds, server.send, [signal.SIGCONT])
    timer.start()
    return timer


@pytest.mark.parametrize("policy", [PLAIN, CLOSED], ids=["no failure mode", "closed"])
@pytest.mark.parametrize("connected", [True, False], ids=["on an open connection", "on a new connection"])
def test_wait_rides_out_a_blip_and_charges_once(own_server, prefix, client, policy, connected):
    """Redis is silent for eight deadlines, then carries out all that it was sent."""
    with (
        limiter_of(client, own_server.url, prefix=prefix, deadline=0.05) as limiter,
        Limiter(own_server.url, deadline=10, prefix=prefix) as direct,
    ):
        if connected:
            direct.take(PLAIN, "warm")
            limiter.wait(PLAIN, "warm", timeout=10)
        timer = frozen(own_server, 0.4)
        try:
            decision = limiter.wait(policy, "key", 3, timeout=30)
        finally:
            timer.join()
        assert (decision.allowed, decision.degraded) == (True, "")
        assert direct.inspect(policy, "key")[0].used == 3


def test_wait_gives_up_when_its_timeout_is_over(limiter, relay):
    relay.answer = cut

    def wait():
        with pytest.raises(BackendError):
            limiter.wait(PLAIN, "key", timeout=0.3)

    assert 0.1 < elapsed(wait) < 0.3 + SLACK
    assert not limiter.wait(CLOSED, "key", timeout=0.1)
    assert elapsed(lambda: limiter.wait(OPEN, "key", timeout=30)) < SLACK


def test_wait_does_not_repeat_a_take_whose_reply_is_lost(relay, prefix, client, count):
    """It may have been charged. The peek before it is answered."""
    with limiter_of(client, relay.url, prefix=prefix, deadline=1) as limiter:
        limiter.take(PLAIN, "warm", deadline=10)
        begun = len(relay.sent)
        relay.answer = lambda reply: lost(reply) if relay.sent[begun:].count(b"EVALSHA") == 2 else reply
        with pytest.raises(BackendTimeout):
            limiter.wait(PLAIN, "key", timeout=30)
    relay.answer = whole
    assert relay.sent[begun:].count(b"EVALSHA") == 2
    assert count() == 1
