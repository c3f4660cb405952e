"""The files of the script: their headers say what the code does."""

import re

import pytest

from limiter import Quota, SlidingWindow, TokenBucket
from limiter.lua import MODULES, SHA, SOURCE, constants, read

KINDS = {"sliding_window": SlidingWindow(100, 60), "token_bucket": TokenBucket(50, 7, "minute"), "quota": Quota.daily(10)}
FILES = ("constants", "require", "take", *MODULES)


def header(part: str) -> dict[str, str]:
    """The text of each entry of a header."""
    lines = re.findall(r"^-- (Fields|Args|Bound) +(.+)$", read(part), re.MULTILINE)
    return {word: re.sub(r"\([^)]*\)", "", text) for word, text in lines}


def widths(form: str) -> list[int]:
    """The size of each field of a format."""
    return [8 if field == "d" else int(field[1:]) for field in re.findall(r"d|I\d", form)]


def arguments(part: str) -> list[str]:
    """The names that a kind gives to the numbers of its limit."""
    names = {value: name.lower() for name, value in constants(read(part)).items()}
    return ["capacity", *(names[slot] for slot in "ABCD" if slot in names)]


def code(part: str) -> str:
    """A file without its comments."""
    return re.sub(r"--.*", "", read(part))


@pytest.mark.parametrize("part", FILES)
def test_a_file_opens_with_its_own_name_and_what_it_is_for(part):
    assert re.match(rf"-- {part}: [a-z].+\.\n", read(part))


@pytest.mark.parametrize("part", FILES)
def test_every_constant_is_used(part):
    text = "".join(map(code, FILES)) if part == "constants" else code(part)
    assert [name for name in constants(read(part)) if len(re.findall(rf"\b{name}\b", text)) < 2] == []


@pytest.mark.parametrize("part", ["take", *MODULES])
def test_no_file_gives_a_shared_constant_another_value(part):
    assert not constants(read(part)).keys() & constants(read("constants")).keys()


def test_constants_are_replaced_by_their_values():
    assert b"<const>" not in SOURCE
    assert b"MOST" not in re.sub(rb"--.*", b"", SOURCE)
    assert b"if length == 128 then" in SOURCE


@pytest.mark.parametrize("part", KINDS)
def test_a_kind_documents_the_fields_it_keeps(part):
    known = constants(read(part))
    form, count, size = known["FORMAT"], known["FIELDS"], known["BYTES"]
    assert len(header(part)["Fields"].split(",")) == len(widths(form)) == int(count)
    assert sum(widths(form)) == int(size)


def test_the_header_of_the_ring_documents_its_entries():
    form = constants(read("ring"))["ENTRY_FORMAT"]
    documented = re.search(r"entries of \(([^)]+)\)", read("ring"))[1]
    assert len(documented.split(",")) == len(widths(form))
    assert sum(widths(form)) == int(constants(read("constants"))["ENTRY_BYTES"])


def test_the_ring_and_the_window_agree_on_the_fields_of_a_window():
    fields = [name.strip() for name in header("sliding_window")["Fields"].split(",")]
    for part in ("sliding_window", "ring"):
        known = constants(read(part))
        assert all(known.get(name.upper(), str(place)) == str(place) for place, name in enumerate(fields))


@pytest.mark.parametrize("part", KINDS)
def test_a_kind_documents_the_arguments_it_reads(part):
    assert [name.strip() for name in header(part)["Args"].split(",")] == arguments(part)


@pytest.mark.parametrize("part", KINDS)
def test_a_kind_is_sent_the_arguments_it_reads(part):
    limit = KINDS[part]
    sent = limit.starts(0) if isinstance(limit, Quota) else limit.arguments()
    assert len(sent) == 4
    assert not any(sent[len(arguments(part)) - 1 :])


def test_a_kind_has_the_same_number_in_lua_and_in_python():
    names = re.search(r"kinds = \{ \[0\] = ([^}]+) \}", read("take"))[1].replace('"', "").split(", ")
    assert names == sorted(KINDS, key=lambda part: KINDS[part].kind)


@pytest.mark.parametrize("part", KINDS)
def test_a_kind_states_its_bound(part):
    assert re.match(r"admitted in (any|a) \w+ +<= +capacity", header(part)["Bound"])


def test_the_script_writes_no_key_without_an_expiry():
    """A key without an expiry would stay forever: a partial write, in `take` or `ring`, is followed by PEXPIREAT."""
    commands = re.findall(r'(?:call|attempt)\("([A-Z]+)"(.*)', SOURCE.decode())
    assert {command for command, _ in commands} == {"GET", "GETRANGE", "SET", "SETRANGE", "PEXPIREAT", "PTTL", "TIME"}
    assert all('"PXAT"' in rest for command, rest in commands if command == "SET")
    assert [command for command, _ in commands][-2:] == ["SETRANGE", "PEXPIREAT"]


def test_redis_finds_the_script_by_the_digest_that_is_sent(client):
    assert client.script_load(SOURCE).encode() == SHA
