"""More requests than the sidecar can answer in time do not get past a limit: they are counted, or shed with 503."""

import asyncio
import time

import pytest

from support.attack import Attack, blocked, memory_mib, raise_descriptor_limit, upstream
from support.servers.relay import relay_to
from support.servers.sidecar import digest, sidecar
from support.waiting import eventually

KEYS = ["open-1000", "closed-1000", "open-4000", "closed-4000", "good"]
CONFIG = f"""
connections: {{ most: 10000 }}
policies:
  open: {{ limits: [5/minute], failure: open }}
  closed: {{ limits: [5/minute], failure: closed }}
  good: {{ limits: [1000000/minute], failure: open }}
tiers: {{ open: {{ key: open }}, closed: {{ key: closed }}, good: {{ key: good }} }}
keys: [{", ".join(f'{{ name: {name}, digest: "sha256:{digest(name)}", tier: {name.partition("-")[0]} }}' for name in KEYS)}]
"""


@pytest.mark.parametrize("entrance", ["/authorize", "proxy"])
def test_a_limit_of_five_holds_for_thousands_of_connections_to_a_loop_that_keeps_being_blocked(tmp_path, server, prefix, entrance):
    """1,000 and then 4,000 connections, half of them with a key whose policy fails open. A good client asks beside them."""
    raise_descriptor_limit()

    async def attacked():
        async with upstream() as url:
            options = () if entrance == "/authorize" else ("--upstream", url)
            with sidecar(tmp_path, CONFIG + f"redis: {{ prefix: {prefix} }}\n", *options, redis=server.url) as running:
                path, over, before = entrance if entrance == "/authorize" else "/", asyncio.Event(), memory_mib(running)
                attacks = {name: Attack(running.port, path, name) for name in KEYS}
                good = asyncio.create_task(attacks["good"].ask_until(over))
                async with blocked(running):
                    for number, each in ((1000, 2), (4000, 1)):
                        await asyncio.gather(*(attacks[f"{mode}-{number}"].flood(number // 2, each) for mode in ("open", "closed")))
                over.set()
                await good
                return attacks, memory_mib(running) - before

    attacks, growth = asyncio.run(attacked())
    good = attacks.pop("good")
    assert [attack.unclean for attack in (good, *attacks.values())] == [[]] * 5
    for attack in attacks.values():
        assert attack.statuses[200] <= 5
        # All that was admitted was counted, and nothing was denied as long as there was room.
        assert sorted(attack.remaining, reverse=True) == [4, 3, 2, 1, 0][: attack.statuses[200]]
        assert attack.statuses[200] == 5 or not attack.statuses[429]
    assert set(good.statuses) <= {200, 503}
    assert good.remaining == sorted(good.remaining, reverse=True)
    assert len(good.remaining) == good.statuses[200]
    assert growth < 64


def test_a_redis_that_answers_late_makes_the_sidecar_shed_and_not_wait(tmp_path, server, prefix):
    """Each reply takes 0.5 s of the 3 s that it may take, so two calls at a time decide far fewer requests than arrive."""
    text = CONFIG + f"redis: {{ prefix: {prefix}, deadline: 3s }}\n"
    with relay_to(server.port) as relay, sidecar(tmp_path, text, redis=relay.url) as running:

        def late(reply):
            time.sleep(0.5)
            return reply

        relay.answer = late
        attack = Attack(running.port, "/authorize", "closed-1000")
        asyncio.run(attack.flood(2000, 2))
        shed = attack.statuses[503]

        def logged():
            lines = [line for line in running.log if line["event"].startswith("overloaded")]
            return lines if sum(line["requests"] for line in lines) == shed else None

        lines = eventually(logged, "a log of all that was shed")
        assert shed > 0
        assert len(lines) < 60
        assert running.manage("/healthz").status == 200
    assert attack.unclean == []
    assert attack.statuses[200] == 5
    assert attack.remaining == [4, 3, 2, 1, 0]
