"""The number of callers that can be decided in time, from measurements with injected time."""

import pytest

from limiter.transport.backlog import Backlog

TARGET = 0.05


@pytest.fixture
def backlog():
    return Backlog(TARGET)


def test_it_is_unbounded_while_nobody_waits_for_too_long(backlog):
    backlog.decided(1, 1000, now=10.0)
    backlog.decided(1000, 0, now=10.04)
    assert backlog.most > 1_000_000


def test_it_is_what_was_decided_within_the_target_once_somebody_waited_for_longer(backlog):
    backlog.decided(1, 1000, now=10.0)
    backlog.decided(500, 500, now=10.1)
    assert backlog.most == pytest.approx(250)


def test_it_rises_with_the_rate(backlog):
    backlog.decided(1, 1000, now=10.0)
    backlog.decided(500, 500, now=10.1)
    backlog.decided(500, 0, now=10.14)
    assert backlog.most == pytest.approx(625)


def test_few_callers_that_waited_for_a_round_trip_do_not_lower_it(backlog):
    backlog.decided(1, 1000, now=10.0)
    backlog.decided(500, 2, now=10.1)
    backlog.decided(2, 0, now=10.14)
    assert backlog.most == pytest.approx(250)


def test_after_a_pause_it_takes_new_measurements(backlog):
    backlog.decided(1000, 0, now=10.0)
    backlog.decided(1, 0, now=99.0)
    assert backlog.most > 1_000_000


def test_the_callers_of_a_small_call_are_always_in_time(backlog):
    backlog.decided(1, 10, now=10.0)
    backlog.decided(1, 9, now=20.0)
    assert backlog.most == 32


def test_callers_that_redis_gave_no_answer_are_no_measurement(backlog):
    backlog.decided(1, 1000, now=10.0)
    backlog.decided(500, 500, now=10.1)
    backlog.restart()
    assert backlog.most > 1_000_000


def test_room_follows_the_rate(backlog):
    backlog.decided(1, 1000, now=10.0)
    backlog.decided(500, 500, now=10.1)
    assert backlog.room(0.005) == 31
    assert backlog.room(10) == 250
