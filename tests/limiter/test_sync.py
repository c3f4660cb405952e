"""Limiter only: threads, processes and forks, and a ceiling that holds across all of them."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from limiter import Charge, Limiter, Policy, SlidingWindow
from support.waiting import eventually

POLICY = Policy("sync", [SlidingWindow(1000, 3600)])

# Waits for a line on stdin, so that all processes take at the same time.
TAKER = """
import sys
from limiter import Limiter, Policy, SlidingWindow

limiter = Limiter(sys.argv[1], prefix=sys.argv[2], deadline=60)
policy = Policy("sync", [SlidingWindow(1000, 3600)])
limiter.peek(policy, "key")
print("ready", flush=True)
sys.stdin.readline()
print(sum(limiter.take(policy, "key").allowed for _ in range(2000)))
"""

FORKER = """
import os, sys
from limiter import Limiter, Policy, SlidingWindow

limiter = Limiter(sys.argv[1], prefix=sys.argv[2], deadline=10)
policy = Policy("sync", [SlidingWindow(1000, 3600)])
limiter.take(policy, "parent")
children = []
for number in range(3):
    child = os.fork()
    if not child:
        used = [limiter.take(policy, f"child-{number}").limits[0].used for _ in range(200)]
        os._exit(used != list(range(1, 201)))
    children.append(child)
used = [limiter.take(policy, "parent").limits[0].used for _ in range(200)]
failed = [os.waitpid(child, 0)[1] for child in children]
used += [limiter.take(policy, "parent").limits[0].used]
print(used == list(range(2, 203)), failed)
"""

GREENLETS = """
from gevent import monkey
monkey.patch_all()
import sys, time
import gevent, redis
from limiter import Limiter, Policy, SlidingWindow

limiter = Limiter(sys.argv[1], prefix=sys.argv[2], deadline=10)
policy = Policy("sync", [SlidingWindow(100, 3600)])
events = []

def take():
    decision = limiter.take(policy, "key")
    events.append("taken")
    return decision.allowed

def tick():
    for _ in range(5):
        gevent.sleep(0.001)
        events.append("tick")

redis.Redis.from_url(sys.argv[1]).execute_command("CLIENT PAUSE 500 ALL")
takers = [gevent.spawn(take) for _ in range(150)]
gevent.joinall([*takers, gevent.spawn(tick)])
print(sum(taker.value for taker in takers), events.index("taken"))
"""

FORKER_WITH_LOOPS = """
import asyncio, os, sys
from limiter import AsyncLimiter, Policy, SlidingWindow

limiter = AsyncLimiter(sys.argv[1], prefix=sys.argv[2], deadline=10)
policy = Policy("sync", [SlidingWindow(1000, 3600)])

async def used(subject):
    async with limiter:
        return [(await limiter.take(policy, subject)).limits[0].used for _ in range(50)]

children = []
for number in range(3):
    child = os.fork()
    if not child:
        os._exit(asyncio.run(used(f"child-{number}")) != list(range(1, 51)))
    children.append(child)
taken = asyncio.run(used("parent"))
print(taken == list(range(1, 51)), [os.waitpid(child, 0)[1] for child in children])
"""


def test_eight_processes_admit_exactly_the_capacity(server, prefix):
    """8 x 2,000 takes from a capacity of 1,000, in real time and within one window of an hour."""
    command = [sys.executable, "-W", "error", "-c", TAKER, server.url, prefix]
    takers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    try:
        for taker in takers:
            assert taker.stdout.readline() == "ready\n"
        admitted = [int(taker.communicate("go\n", timeout=120)[0]) for taker in takers]
    finally:
        for taker in takers:
            taker.kill()
            taker.wait()
            taker.stdin.close()
            taker.stdout.close()
    assert sum(admitted) == 1000
    with Limiter(server.url, prefix=prefix, deadline=10) as limiter:
        assert limiter.inspect(POLICY, "key")[0].used == 1000


def test_a_limiter_survives_a_fork_on_both_sides(server, prefix):
    """On a shared connection, replies would reach the wrong process."""
    command = [sys.executable, "-W", "error", "-c", FORKER, server.url, prefix]
    assert subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout == "True [0, 0, 0]\n"


def test_an_async_limiter_that_was_made_before_a_fork_works_on_both_sides(server, prefix):
    command = [sys.executable, "-W", "error", "-c", FORKER_WITH_LOOPS, server.url, prefix]
    assert subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout == "True [0, 0, 0]\n"


def test_greenlets_can_share_a_limiter_and_others_run_while_they_wait(server, prefix):
    """Redis pauses for long enough that another greenlet runs five times before the first decision."""
    pytest.importorskip("gevent")
    command = [sys.executable, "-c", GREENLETS, server.url, prefix]
    assert subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout == "100 5\n"


def test_threads_can_share_a_limiter(server, prefix):
    policy = Policy("threads", [SlidingWindow(500, 3600)])
    begin = threading.Barrier(8)

    def taker(limiter):
        begin.wait()
        return [limiter.take(policy, "key") for _ in range(100)]

    with Limiter(server.url, prefix=prefix, deadline=60) as limiter, ThreadPoolExecutor(8) as pool:
        decisions = [decision for taken in pool.map(taker, [limiter] * 8) for decision in taken]
    admitted = [decision for decision in decisions if decision.allowed]
    assert sorted(decision.limits[0].used for decision in admitted) == list(range(1, 501))


def test_a_connection_is_kept_for_the_next_call(relay, prefix):
    with Limiter(relay.url, prefix=prefix, deadline=10) as limiter:
        for _ in range(10):
            limiter.take(POLICY, "key")
        assert relay.connections == 1


def test_closing_ends_all_connections_and_the_limiter_can_be_used_again(server, prefix):
    with server.client() as client:
        before = client.info("clients")["connected_clients"]
        with Limiter(server.url, prefix=prefix, deadline=10) as limiter:
            limiter.take(POLICY, "key")
            assert client.info("clients")["connected_clients"] == before + 1
        eventually(lambda: client.info("clients")["connected_clients"] == before, "the connections to close")
        assert limiter.take(POLICY, "key").limits[0].used == 2
        limiter.close()


def test_a_large_call_and_its_reply_arrive_complete(server, prefix):
    """128 decisions of 16 limits for the longest subjects: far more than one read of a socket returns."""
    policy = Policy("big", [SlidingWindow(1000, 3600 + n) for n in range(16)])
    charges = [Charge(policy, f"{n:𐍈>256}", n) for n in range(128)]
    with Limiter(server.url, prefix=prefix, deadline=10) as limiter:
        decisions = limiter.take_many(charges)
    assert [[state.used for state in decision.limits] for decision in decisions] == [[n] * 16 for n in range(128)]
