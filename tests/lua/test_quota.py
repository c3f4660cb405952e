"""Quotas: one count per calendar period, by the clock of Redis."""

import time
from datetime import datetime
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter import Charge, Limiter, Policy, Quota, SlidingWindow
from limiter.protocol import server_clock
from support.clock import DAY, HOUR, SECOND
from support.drivers import CLIENTS, a_subject, limiter_of
from support.examples import examples
from support.traffic import STARTS, assert_decided_as_promised, quotas, traffic

# 400 years: more than any clock can be off.
CENTURIES = 400 * 365 * DAY


def at(zone: str, *wall: int) -> int:
    return int(datetime(*wall, tzinfo=ZoneInfo(zone)).timestamp()) * SECOND


@examples(80)
@given(st.data())
def test_no_period_holds_more_than_the_capacity_under_any_traffic(limiter, clock, data):
    limit = data.draw(quotas())
    start = data.draw(st.sampled_from(STARTS)) + data.draw(st.integers(-2, 2))
    assert_decided_as_promised(limiter, clock, [limit], start, data.draw(traffic([limit])))


@pytest.mark.parametrize(
    ("limit", "last", "length"),
    [
        (Quota.hourly(3, timezone="Asia/Kathmandu"), at("Asia/Kathmandu", 2027, 5, 1, 13), HOUR),
        (Quota.daily(3), at("UTC", 2027, 5, 2), DAY),
        (Quota.daily(3, timezone="Europe/Berlin"), at("Europe/Berlin", 2027, 3, 29), 23 * HOUR),
        (Quota.daily(3, timezone="Europe/Berlin"), at("Europe/Berlin", 2027, 11, 1), 25 * HOUR),
        (Quota.daily(3, timezone="America/New_York"), at("America/New_York", 2027, 3, 15), 23 * HOUR),
        (Quota.daily(3, timezone="America/Sao_Paulo"), at("America/Sao_Paulo", 2018, 11, 5), 23 * HOUR),
        (Quota.weekly(3, timezone="Europe/Berlin"), at("Europe/Berlin", 2027, 3, 29), 7 * DAY - HOUR),
        (Quota.monthly(3, timezone="Europe/Berlin", anchor=31), at("Europe/Berlin", 2027, 2, 28), 28 * DAY),
        (Quota.monthly(3, timezone="UTC", anchor=31), at("UTC", 2028, 3, 31), 31 * DAY),
    ],
)
def test_a_period_ends_exactly_after_its_last_microsecond(limiter, clock, limit, last, length):
    policy, subject = Policy("edges", [limit]), a_subject()
    clock.now_us = last - length
    assert limiter.take(policy, subject, 3).allowed
    denied = limiter.take(policy, subject)
    assert denied.retry_after * SECOND == length
    clock.now_us = last - 1
    assert not limiter.take(policy, subject).allowed
    clock.now_us = last
    assert limiter.take(policy, subject, 3).allowed


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("off", [-CENTURIES, -40 * DAY, -DAY, DAY, 40 * DAY, CENTURIES])
def test_a_client_whose_clock_is_off_counts_in_the_period_of_the_server(server, prefix, monkeypatch, client, off):
    policy = Policy("off", [Quota.daily(9, timezone="Europe/Berlin"), Quota.monthly(9, anchor=31), SlidingWindow(9, 3600)])
    with Limiter(server.url, prefix=prefix, deadline=10) as right:
        right.take(policy, "key", 2)
    monkeypatch.setattr(server_clock, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + off * 1000, monotonic_ns=time.monotonic_ns))
    with limiter_of(client, server.url, prefix=prefix) as wrong:
        decision = wrong.take(policy, "key")
        assert decision.allowed
        assert [state.used for state in decision.limits] == [3, 3, 3]
        assert 0 < decision.limits[0].reset_after <= 25 * 3600
        assert [d.allowed for d in wrong.take_many([Charge(policy, "key", 3)] * 3)] == [True, True, False]


def test_a_client_whose_clock_is_off_update_clock_and_then_sends_one_call_per_decision(server, client, prefix, monkeypatch):
    monkeypatch.setattr(
        server_clock, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + CENTURIES * 1000, monotonic_ns=time.monotonic_ns)
    )
    policy = Policy("learns", [Quota.daily(100)])
    with Limiter(server.url, prefix=prefix, deadline=10) as wrong:
        wrong.take(policy, "key")
        before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        for _ in range(10):
            wrong.take(policy, "key")
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] - before == 10
        assert wrong.inspect(policy, "key")[0].used == 11


def test_only_a_stale_group_is_sent_again_and_every_group_is_charged_once(server, prefix, monkeypatch):
    monkeypatch.setattr(
        server_clock, "time", SimpleNamespace(time_ns=lambda: time.time_ns() - CENTURIES * 1000, monotonic_ns=time.monotonic_ns)
    )
    window, quota = Policy("window", [SlidingWindow(9, 60)]), Policy("quota", [Quota.daily(9)])
    with Limiter(server.url, prefix=prefix, deadline=10) as wrong:
        requests = [Charge(window, "a"), [Charge(quota, "a"), Charge(window, "b")], Charge(window, "a"), Charge(quota, "b")]
        decisions = wrong.take_many(requests, account="acme")
    assert [[state.used for state in decision.limits] for decision in decisions] == [[1], [1, 1], [2], [1]]


def test_a_quota_resets_by_the_real_clock_of_redis(server, prefix):
    """A daily quota resets at the next midnight of its time zone."""
    policy = Policy("day", [Quota.daily(9, timezone="Pacific/Kiritimati")])
    with Limiter(server.url, prefix=prefix, deadline=10) as limiter:
        decision = limiter.take(policy, "key")
    resets = datetime.fromtimestamp(decision.decided_us / SECOND + decision.reset_after, ZoneInfo("Pacific/Kiritimati"))
    assert (resets.hour, resets.minute, resets.second) == (0, 0, 0)
