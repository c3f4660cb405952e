"""The parts of the script: that their headers say what the code does."""

import re
from importlib.resources import files

import pytest

from limiter import Quota, SlidingWindow, TokenBucket
from limiter.lua import OPEN, PARTS, SHA, SOURCE, constants

KINDS = {"sliding_window": SlidingWindow(100, 60), "token_bucket": TokenBucket(50, 7, "minute"), "quota": Quota.daily(10)}
WORDS = {"two": 2, "three": 3, "four": 4}


def source(part: str) -> str:
    return files("limiter.lua").joinpath(f"{part}.lua").read_text("utf-8")


def header(part: str) -> dict[str, str]:
    """What a header says under each of its words."""
    lines = re.findall(r"^-- (Fields|Args|Bound) +(.+)$", source(part), re.MULTILINE)
    return {word: re.sub(r"\([^)]*\)", "", text) for word, text in lines}


def widths(form: str) -> list[int]:
    """How many bytes each field of a format takes."""
    return [8 if field == "d" else int(field[1:]) for field in re.findall(r"d|I\d", form)]


def arguments(part: str) -> list[str]:
    """What a kind calls the numbers of its limit."""
    names = {value: name.lower() for name, value in constants(source(part)).items()}
    return ["capacity", *(names[place] for place in "ABCD" if place in names)]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_opens_with_its_own_name_and_what_it_is_for(part):
    assert re.match(rf"-- {part}: [a-z].+\.\n", source(part))


@pytest.mark.parametrize("part", PARTS)
def test_a_constant_is_used_where_it_is_known(part):
    """As luacheck would say, if it were shown them."""
    parts = PARTS[PARTS.index(part) :] if part in OPEN else [part]
    code = re.sub(r"--.*", "", "".join(map(source, parts)))
    assert [name for name in constants(source(part)) if len(re.findall(rf"\b{name}\b", code)) < 2] == []


def test_a_constant_is_put_in_place():
    assert b"MOST" not in re.sub(rb"--.*", b"", SOURCE)
    assert b"if count == 128 then" in SOURCE


@pytest.mark.parametrize("part", KINDS)
def test_a_kind_says_what_fields_it_keeps(part):
    form, count, size = re.search(r'local FORMAT, COUNT, SIZE.* = "(\w+)", (\d+), (\d+)', source(part)).groups()
    assert len(header(part)["Fields"].split(",")) == len(widths(form)) == int(count)
    assert sum(widths(form)) == int(size)


def test_an_entry_is_what_the_header_of_rings_says():
    form, size = re.search(r'local FORMAT, SIZE = "<(\w+)", (\d+)', source("ring")).groups()
    said = re.search(r"entries of \(([^)]+)\)", source("ring"))[1]
    assert len(said.split(",")) == len(widths(form))
    assert sum(widths(form)) == int(size) == int(constants(source("sliding_window"))["ENTRY"])


def test_a_ring_knows_the_fields_of_a_window():
    fields = [name.strip() for name in header("sliding_window")["Fields"].split(",")]
    for part in ("sliding_window", "ring"):
        known = constants(source(part))
        assert all(known.get(name.upper(), str(place)) == str(place) for place, name in enumerate(fields))


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
    makers = re.search(r"kinds, made = \{ \[0\] = ([^}]+) \}", source("kinds"))[1].split(", ")
    assert makers == [f"make_{part}" for part, limit in sorted(KINDS.items(), key=lambda item: item[1].kind)]


@pytest.mark.parametrize("part", KINDS)
def test_a_kind_states_its_bound(part):
    assert re.match(r"admitted in (any|a) \w+ +<= +capacity", header(part)["Bound"])


def test_the_script_writes_nothing_without_an_end():
    """A key without a lifetime would never go: what `take` and `ring` write in part is given one before the end."""
    commands = re.findall(r'call\("([A-Z]+)"(.*)', SOURCE.decode())
    assert {command for command, _ in commands} == {"GET", "GETRANGE", "SET", "SETRANGE", "PEXPIREAT", "TIME"}
    assert all('"PXAT"' in rest for command, rest in commands if command == "SET")
    assert [command for command, _ in commands][-2:] == ["SETRANGE", "PEXPIREAT"]


def test_redis_knows_the_script_by_the_digest_that_is_sent(client):
    assert client.script_load(SOURCE).encode() == SHA
