"""A changed file is loaded whole or not at all, and valid rules are in force at every moment."""

import asyncio
import os
import signal

import pytest

from limiter.api.config.loader import load
from limiter.api.server.reload import Watched


def policy(capacity):
    return f"policies: {{standard: {{limits: [{capacity}/minute]}}}}\n"


class Seen:
    """A watched file, and the calls about it."""

    def __init__(self, path):
        self.path, self.swaps, self.refusals, self.changed = path, [], [], asyncio.Event()
        path.write_text(policy(100), "utf-8")
        self.watched = Watched(path, path.read_text(), load(path), self.swapped, self.refused)

    def swapped(self, old, new):
        self.swaps.append((capacity(old), capacity(new)))
        self.changed.set()

    def refused(self, error):
        self.refusals.append(error)
        self.changed.set()

    def check(self, times=1):
        async def checks():
            for _ in range(times):
                await self.watched.check()

        asyncio.run(checks())

    @property
    def capacity(self):
        return capacity(self.watched.rules)


def capacity(rules):
    return rules.policies["standard"].limits[0].capacity


@pytest.fixture
def seen(tmp_path):
    return Seen(tmp_path / "limiter.yaml")


def test_a_reload_loads_the_current_file(seen):
    seen.path.write_text(policy(200), "utf-8")
    assert seen.watched.reload()
    assert seen.capacity == 200
    assert seen.swaps == [(100, 200)]


def test_an_invalid_file_is_rejected_and_the_rules_stay(seen):
    before = seen.watched.rules
    seen.path.write_text(policy("many"), "utf-8")
    assert not seen.watched.reload()
    assert seen.watched.rules is before
    assert seen.swaps == []
    (refusal,) = seen.refusals
    assert f"{seen.path}:1: policies.standard.limits[0]: limit must be text such as '100/minute'" in str(refusal)


def test_a_missing_file_is_rejected_on_reload(seen):
    seen.path.unlink()
    assert not seen.watched.reload()
    assert seen.capacity == 100
    assert "cannot be read" in str(seen.refusals[0])


def test_an_unchanged_file_is_not_loaded_again(seen):
    seen.check(10)
    seen.path.touch()
    seen.check(10)
    seen.path.write_text(policy(100), "utf-8")
    seen.check(10)
    assert (seen.swaps, seen.refusals) == ([], [])


def test_a_change_is_loaded_when_two_checks_agree(seen):
    seen.check()
    seen.path.write_text(policy(200), "utf-8")
    seen.check()
    assert seen.capacity == 100
    seen.check()
    assert seen.capacity == 200
    seen.check(10)
    assert seen.swaps == [(100, 200)]


def test_a_change_before_the_first_check_is_loaded(seen):
    seen.path.write_text(policy(200), "utf-8")
    seen.check(2)
    assert seen.capacity == 200


def test_a_file_that_is_being_written_is_not_read_in_part(seen):
    """Every part of the file is an invalid file."""
    whole = policy(200) + "tiers: {free: {key: standard}}\n"
    with seen.path.open("w", encoding="utf-8") as file:
        for character in whole:
            file.write(character)
            file.flush()
            seen.check()
    assert (seen.swaps, seen.refusals) == ([], [])
    seen.check()
    assert seen.swaps == [(100, 200)]
    assert list(seen.watched.rules.tiers) == ["free"]


def test_a_change_with_the_same_size_and_time_is_noticed(seen):
    """The modification time is set back, which leaves the time of the last status change."""
    seen.check(2)
    before = seen.path.stat()
    seen.path.write_text(policy(200), "utf-8")
    os.utime(seen.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    seen.check(2)
    assert seen.capacity == 200


def test_a_file_replaced_by_renaming_is_noticed(seen, tmp_path):
    for capacity_now in (200, 300, 400):
        other = tmp_path / "other"
        other.write_text(policy(capacity_now), "utf-8")
        other.replace(seen.path)
        seen.check(3)
        assert seen.capacity == capacity_now


def test_a_change_of_a_kubernetes_mount_is_noticed(tmp_path):
    """The file is a link into `..data`, which is a link to a folder and is replaced by renaming."""
    for name, capacity_then in (("v1", 100), ("v2", 200)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "limiter.yaml").write_text(policy(capacity_then), "utf-8")
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "limiter.yaml").symlink_to("..data/limiter.yaml")
    seen = Seen(tmp_path / "limiter.yaml")
    seen.check(10)
    (tmp_path / "..tmp").symlink_to("v2")
    (tmp_path / "..tmp").replace(tmp_path / "..data")
    (tmp_path / "v1" / "limiter.yaml").unlink()
    seen.check(2)
    assert seen.swaps == [(100, 200)]


def test_a_file_may_be_missing_briefly(seen):
    seen.check()
    seen.path.unlink()
    seen.check(3)
    seen.path.write_text(policy(200), "utf-8")
    seen.check(2)
    assert (seen.swaps, seen.refusals) == ([(100, 200)], [])


@pytest.mark.parametrize("instead", ["nothing", "folder"])
def test_a_missing_file_is_reported_once(seen, instead):
    seen.path.unlink()
    if instead == "folder":
        seen.path.mkdir()
    seen.check(20)
    assert seen.capacity == 100
    (refusal,) = seen.refusals
    assert "cannot be read" in str(refusal)


def test_an_invalid_file_is_reported_once_and_the_next_valid_one_is_loaded(seen):
    seen.path.write_text("policies: [", "utf-8")
    seen.check(20)
    assert len(seen.refusals) == 1
    seen.path.write_text(policy(100), "utf-8")
    seen.check(20)
    assert len(seen.refusals) == 1
    assert seen.swaps == [(100, 100)]


def test_a_reload_during_a_check_wins(seen):
    async def both():
        seen.path.write_text(policy(200), "utf-8")
        await seen.watched.check()
        look = asyncio.create_task(seen.watched.check())
        # The check has read the file by now, and waits for it to load.
        await asyncio.sleep(0)
        seen.path.write_text(policy(300), "utf-8")
        seen.watched.reload()
        await look

    asyncio.run(both())
    assert seen.capacity == 300
    assert seen.swaps == [(100, 300)]


def test_watching_loads_valid_changes_and_rejects_invalid_ones(seen):
    """Runs in real time, and waits for each of 20 changes."""

    async def change_twenty_times():
        watch = asyncio.create_task(seen.watched.watch(0.002))
        for n in range(20):
            bad = n % 4 == 3
            seen.changed.clear()
            other = seen.path.with_suffix(".new")
            other.write_text(policy(f"x{n}" if bad else 1000 + n), "utf-8")
            other.replace(seen.path)
            await asyncio.wait_for(seen.changed.wait(), 30)
            assert seen.capacity == (1000 + n - bad)
        watch.cancel()

    asyncio.run(change_twenty_times())
    assert (len(seen.swaps), len(seen.refusals)) == (15, 5)


def test_a_signal_can_call_reload(seen):
    async def signalled():
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, seen.watched.reload)
        seen.path.write_text(policy(200), "utf-8")
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(seen.changed.wait(), 30)
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)

    asyncio.run(signalled())
    assert seen.capacity == 200
