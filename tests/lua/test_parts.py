"""The parts of the script: that their headers say what the code does."""

import re
from importlib.resources import files

import pytest

from limiter import Quota, SlidingWindow, TokenBucket
from limiter.lua import PARTS, SHA, SOURCE

KINDS = {"sliding_window": SlidingWindow(100, 60), "token_bucket": TokenBucket(50, 7, "minute"), "quota": Quota.daily(10)}
WORDS = {"two": 2, "three": 3, "four": 4}


def source(part: str) -> str:
    return files("limiter.lua").joinpath(f"{part}.lua").read_text("utf-8")


def header(part: str) -> dict[str, str]:
    """What a header says under each of its words."""
    lines = re.findall(r"^-- (State|Args|Bound) +(.+)$", source(part), re.MULTILINE)
    return {word: re.sub(r"\([^)]*\)", "", text) for word, text in lines}


def widths(part: str, name: str) -> tuple[list[int], int]:
    """Of a struct: how many bytes each field takes, and how many the code says that all do."""
    form, size = re.search(rf'local {name}, {name}_SIZE = "[<>]([^"]+)", (\d+)', source(part)).groups()
    return [8 if field == "d" else int(field[1:]) for field in re.findall(r"d|I\d", form)], int(size)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_opens_with_its_own_name_and_what_it_is_for(part):
    assert re.match(rf"-- {part}: [a-z].+\.\n", source(part))


@pytest.mark.parametrize("part", KINDS)
def test_a_kind_says_what_its_state_holds(part):
    (name,) = re.findall(r'local ([A-Z]+), [A-Z]+_SIZE = "[<>]\w+", \d+', source(part))[:1]
    fields, size = widths(part, name)
    assert len(header(part)["State"].partition(";")[0].split(",")) == len(fields)
    assert sum(fields) == size


def test_a_log_entry_is_what_the_header_says():
    fields, size = widths("sliding_window", "ENTRY")
    said = re.search(r"entries of \(([^)]+)\)", source("sliding_window"))[1]
    assert len(said.split(",")) == len(fields)
    assert sum(fields) == size


def arguments(part: str) -> list[str]:
    """What a kind calls the numbers of its limit."""
    names = re.search(r"local (?:after, )?(capacity[\w, ]*) = .*spread\(limit\)", source(part))[1]
    return names.split(", ")


@pytest.mark.parametrize("part", KINDS)
def test_a_kind_says_what_arguments_it_reads(part):
    said = header(part)["Args"]
    counted = re.search(r"then (\w+) bounds", said)
    if counted:
        assert len(arguments(part)) == 1 + WORDS[counted[1]]
    else:
        assert [name.strip() for name in said.split(",")] == arguments(part)


@pytest.mark.parametrize("part", KINDS)
def test_a_kind_is_sent_the_arguments_that_it_reads(part):
    limit = KINDS[part]
    sent = limit.starts(0) if isinstance(limit, Quota) else limit.arguments()
    assert len(sent) == 4
    assert not any(sent[len(arguments(part)) - 1 :])


def test_a_kind_has_the_number_that_stands_for_it_in_python():
    makers = re.search(r"KINDS = \{ \[0\] = (.+) \}", source("kinds"))[1].split(", ")
    assert makers == [f"make_{part}" for part, limit in sorted(KINDS.items(), key=lambda item: item[1].kind)]


@pytest.mark.parametrize("part", KINDS)
def test_a_kind_states_its_bound(part):
    assert re.match(r"admitted in (any|a) \w+ +<= +capacity", header(part)["Bound"])


def test_the_script_writes_nothing_without_an_end():
    """A key without a lifetime would never go; one that is written again may keep the one that it has."""
    commands = re.findall(r'call\("([A-Z]+)"(.*)', SOURCE.decode())
    assert {command for command, _ in commands} == {"GET", "SET", "TIME"}
    lifetimes = [re.findall(r'"(PXAT|KEEPTTL)"', rest) for command, rest in commands if command == "SET"]
    assert ["PXAT"] in lifetimes
    assert all(lifetimes)


def test_redis_knows_the_script_by_the_digest_that_is_sent(client):
    assert client.script_load(SOURCE).encode() == SHA
