"""Changed files are taken whole or not at all, while the rules stay readable at any moment."""

import asyncio
import os
import signal

import pytest

from limiter.api.config.file import load
from limiter.api.server.reload import Watched


def policy(capacity):
    return f"policies: {{standard: {{limits: [{capacity}/minute]}}}}\n"


class Seen:
    """A watched file, and what was told about it."""

    def __init__(self, path):
        self.path, self.swaps, self.refusals, self.told = path, [], [], asyncio.Event()
        path.write_text(policy(100), "utf-8")
        self.watched = Watched(path, load(path), self.swapped, self.refused)

    def swapped(self, old, new):
        self.swaps.append((capacity(old), capacity(new)))
        self.told.set()

    def refused(self, error):
        self.refusals.append(error)
        self.told.set()

    def look(self, times=1):
        async def looks():
            for _ in range(times):
                await self.watched.look()

        asyncio.run(looks())

    @property
    def capacity(self):
        return capacity(self.watched.rules)


def capacity(rules):
    return rules.policies["standard"].limits[0].capacity


@pytest.fixture
def seen(tmp_path):
    return Seen(tmp_path / "limiter.yaml")


def test_a_reload_takes_the_file_as_it_is(seen):
    seen.path.write_text(policy(200), "utf-8")
    assert seen.watched.reload()
    assert seen.capacity == 200
    assert seen.swaps == [(100, 200)]


def test_a_bad_file_is_refused_and_the_rules_stay(seen):
    before = seen.watched.rules
    seen.path.write_text(policy("many"), "utf-8")
    assert not seen.watched.reload()
    assert seen.watched.rules is before
    assert seen.swaps == []
    (refusal,) = seen.refusals
    assert f"{seen.path}:1: policies.standard.limits[0]: limit must be text such as '100/minute'" in str(refusal)


def test_a_missing_file_is_refused_on_reload(seen):
    seen.path.unlink()
    assert not seen.watched.reload()
    assert seen.capacity == 100
    assert "cannot be read" in str(seen.refusals[0])


def test_an_unchanged_file_is_left_alone(seen):
    seen.look(10)
    seen.path.touch()
    seen.look(10)
    seen.path.write_text(policy(100), "utf-8")
    seen.look(10)
    assert (seen.swaps, seen.refusals) == ([], [])


def test_a_change_is_taken_once_it_stays(seen):
    seen.look()
    seen.path.write_text(policy(200), "utf-8")
    seen.look()
    assert seen.capacity == 100
    seen.look()
    assert seen.capacity == 200
    seen.look(10)
    assert seen.swaps == [(100, 200)]


def test_a_change_from_before_the_first_look_is_taken(seen):
    seen.path.write_text(policy(200), "utf-8")
    seen.look(2)
    assert seen.capacity == 200


def test_a_file_that_is_being_written_is_not_read_in_half(seen):
    """Each beginning of the file is a file of its own, and a wrong one."""
    whole = policy(200) + "tiers: {free: {key: standard}}\n"
    with seen.path.open("w", encoding="utf-8") as file:
        for character in whole:
            file.write(character)
            file.flush()
            seen.look()
    assert (seen.swaps, seen.refusals) == ([], [])
    seen.look()
    assert seen.swaps == [(100, 200)]
    assert list(seen.watched.rules.tiers) == ["free"]


def test_a_change_that_looks_the_same_from_outside_is_seen(seen):
    """Same size, same time of change as far as that can be set, within the same look."""
    seen.look(2)
    before = seen.path.stat()
    seen.path.write_text(policy(200), "utf-8")
    os.utime(seen.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    seen.look(2)
    assert seen.capacity == 200


def test_a_file_replaced_by_renaming_is_seen(seen, tmp_path):
    for capacity_now in (200, 300, 400):
        other = tmp_path / "other"
        other.write_text(policy(capacity_now), "utf-8")
        other.replace(seen.path)
        seen.look(3)
        assert seen.capacity == capacity_now


def test_a_mounted_configuration_is_seen_to_change(tmp_path):
    """As Kubernetes mounts it: the file is a link into `..data`, itself a link to a folder, and is replaced by renaming."""
    for name, capacity_then in (("v1", 100), ("v2", 200)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "limiter.yaml").write_text(policy(capacity_then), "utf-8")
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "limiter.yaml").symlink_to("..data/limiter.yaml")
    seen = Seen(tmp_path / "limiter.yaml")
    seen.look(10)
    (tmp_path / "..tmp").symlink_to("v2")
    (tmp_path / "..tmp").replace(tmp_path / "..data")
    (tmp_path / "v1" / "limiter.yaml").unlink()
    seen.look(2)
    assert seen.swaps == [(100, 200)]


def test_a_file_that_is_missing_briefly_is_waited_for(seen):
    seen.look()
    seen.path.unlink()
    seen.look(3)
    seen.path.write_text(policy(200), "utf-8")
    seen.look(2)
    assert (seen.swaps, seen.refusals) == ([(100, 200)], [])


@pytest.mark.parametrize("instead", ["nothing", "folder"])
def test_a_file_that_stays_missing_is_told_once(seen, instead):
    seen.path.unlink()
    if instead == "folder":
        seen.path.mkdir()
    seen.look(20)
    assert seen.capacity == 100
    (refusal,) = seen.refusals
    assert "cannot be read" in str(refusal)


def test_a_bad_file_is_told_once_and_the_good_one_taken_again(seen):
    seen.path.write_text("policies: [", "utf-8")
    seen.look(20)
    assert len(seen.refusals) == 1
    seen.path.write_text(policy(100), "utf-8")
    seen.look(20)
    assert len(seen.refusals) == 1
    assert seen.swaps == [(100, 100)]


def test_a_reload_while_a_file_is_checked_has_the_last_word(seen):
    async def both():
        seen.path.write_text(policy(200), "utf-8")
        await seen.watched.look()
        look = asyncio.create_task(seen.watched.look())
        # The look has read the file by now, and waits for it to be checked.
        await asyncio.sleep(0)
        seen.path.write_text(policy(300), "utf-8")
        seen.watched.reload()
        await look

    asyncio.run(both())
    assert seen.capacity == 300
    assert seen.swaps == [(100, 300)]


def test_watching_takes_twenty_changes_and_refuses_the_bad_ones(seen):
    """In real time, bounded: each change is waited for."""

    async def change_twenty_times():
        watch = asyncio.create_task(seen.watched.watch(0.002))
        for n in range(20):
            bad = n % 4 == 3
            seen.told.clear()
            other = seen.path.with_suffix(".new")
            other.write_text(policy(f"x{n}" if bad else 1000 + n), "utf-8")
            other.replace(seen.path)
            await asyncio.wait_for(seen.told.wait(), 30)
            assert seen.capacity == (1000 + n - bad)
        watch.cancel()

    asyncio.run(change_twenty_times())
    assert (len(seen.swaps), len(seen.refusals)) == (15, 5)


def test_a_signal_may_call_reload(seen):
    async def signalled():
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, seen.watched.reload)
        seen.path.write_text(policy(200), "utf-8")
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(seen.told.wait(), 30)
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)

    asyncio.run(signalled())
    assert seen.capacity == 200
