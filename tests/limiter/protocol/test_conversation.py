"""Conversations without Redis: which commands are sent, and that none is sent twice."""

import hiredis
import pytest

from limiter import BackendError, Charge, Policy, Quota, SlidingWindow
from limiter.lua import SHA, SOURCE
from limiter.protocol.conversation import converse
from limiter.protocol.group import grouped
from limiter.protocol.server_clock import ServerClock

GROUPS = [grouped("lim", Charge(Policy("standard", [SlidingWindow(100, 60)]), "key-1"), None, 1, None)]

REFUSALS = (
    *("BUSY Redis is busy running a script", "LOADING Redis is loading", "OOM command not allowed", "READONLY You can't write", "ERR"),
    *(
        "MOVED 1 127.0.0.1:1",
        "TRYAGAIN",
        "CLUSTERDOWN The cluster is down",
        "MASTERDOWN Link",
        "WRONGTYPE",
    ),
)


@pytest.fixture
def conversation():
    return converse(GROUPS, ServerClock(), None)


def test_a_decision_is_one_command_by_the_digest_of_the_script(conversation):
    command = next(conversation)
    assert command.startswith(b"*")
    assert b"EVALSHA" in command
    assert SHA in command
    assert SOURCE not in command
    assert b"lim:{key-1}:key-1:standard" in command


def test_the_script_is_sent_once_to_a_redis_without_it(conversation):
    next(conversation)
    command = conversation.send(hiredis.ReplyError("NOSCRIPT No matching script. Please use EVAL."))
    assert b"$4\r\nEVAL\r\n" in command
    assert SOURCE in command
    with pytest.raises(BackendError, match="Redis refused: NOSCRIPT"):
        conversation.send(hiredis.ReplyError("NOSCRIPT No matching script. Please use EVAL."))


@pytest.mark.parametrize("error", REFUSALS)
def test_a_command_is_not_sent_again_after_another_error(conversation, error):
    next(conversation)
    with pytest.raises(BackendError, match=f"^Redis refused: {error}") as caught:
        conversation.send(hiredis.ReplyError(error))
    assert isinstance(caught.value.__cause__, hiredis.ReplyError)


@pytest.mark.parametrize("error", ["NOAUTH Authentication required.", "WRONGPASS invalid username-password pair", "NOPERM this user"])
def test_a_denial_of_access_is_reported_as_one(conversation, error):
    next(conversation)
    with pytest.raises(BackendError, match=f"^Redis denies access: {error}"):
        conversation.send(hiredis.ReplyError(error))


@pytest.mark.parametrize("reply", [0, None, [], b"", b"OK", b"\0" * 7, b"\0" * 8, b"\0" * 9])
def test_an_unexpected_reply_is_a_clear_error(conversation, reply):
    next(conversation)
    with pytest.raises(BackendError, match=r"^Redis must reply with packed integers, not "):
        conversation.send(reply)


def test_the_time_is_sent_only_if_it_is_injected():
    injected = next(converse(GROUPS, ServerClock(), lambda: 123_456_789))
    assert b"123456789" in injected


def test_a_quota_sends_the_periods_around_the_injected_time():
    policy = Policy("daily", [Quota.daily(5)])
    groups = [grouped("lim", Charge(policy, "key-1"), None, 1, None)]
    one, same_day, next_day = (
        next(converse(groups, ServerClock(), lambda us=us: us)) for us in (10**15, 10**15 + 1, 10**15 + 86_400_000_000)
    )
    assert one.replace(b"1000000000000000", b"") == same_day.replace(b"1000000000000001", b"")
    assert one.replace(b"1000000000000000", b"") != next_day.replace(b"1000086400000000", b"")
