"""Moving from `limits`."""

import redis
from limits import parse
from limits.storage import storage_from_string
from limits.strategies import FixedWindowRateLimiter

from limiter import Policy
from support.moving import block, run
from support.waiting import eventually


def test_a_denied_request_stays_charged_in_theirs(their_redis, our_redis):
    """Their limit per minute admits what their limit per hour then denies."""
    theirs, ours = run(block("limits", "limits"), their_redis), run(block("limits", "limiter"), our_redis)
    theirs["hour"] = theirs["parse"]("3/hour")
    policy = ours["policy"] = Policy("search", ["10/minute", "3/hour"])
    assert [[names["admit"]("ada") for _ in range(5)] for names in (theirs, ours)] == [[True] * 3 + [False] * 2] * 2
    assert theirs["strategy"].get_window_stats(theirs["minute"], "search", "ada").remaining == 10 - 5
    assert ours["limiter"].inspect(policy, "ada")[0].remaining == 10 - 3


def test_their_strategies_and_our_policy_admit_the_same(their_redis, our_redis):
    for title, url in (("limits", their_redis), ("limiter", our_redis)):
        names = run(block("limits", title), url)
        assert [names["admit"](user) for user in ["ada"] * 11 + ["bob"]] == [True] * 10 + [False, True]


def test_fixed_windows_admit_twice_the_limit_at_their_edge(their_redis):
    """3 at its start and its end, and 3 more in the next one, a moment later."""
    strategy, item = FixedWindowRateLimiter(storage_from_string(their_redis)), parse("3/minute")
    assert strategy.hit(item, "ada")
    with redis.Redis.from_url(their_redis) as client:
        (key,) = client.keys()
        # The window began with the first request, nearly a minute ago.
        client.pexpire(key, 300)
        assert strategy.hit(item, "ada")
        assert strategy.hit(item, "ada")
        eventually(lambda: not client.exists(key), "the window ends")
    assert [strategy.hit(item, "ada") for _ in range(4)] == [True, True, True, False]
