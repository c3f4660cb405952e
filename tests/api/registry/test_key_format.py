"""The format of issued keys, and the digest by which every key is known."""

import hashlib
import re
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter.api.registry import InvalidRecord, KeyFormat

PEPPER = b"a pepper of enough bytes"


@pytest.mark.parametrize("key_format", [KeyFormat("ff"), KeyFormat("frameflow", PEPPER)], ids=["plain", "peppered"])
@pytest.mark.parametrize("environment", ["live", "test"])
def test_an_issued_key_is_its_prefix_environment_and_32_base32_characters(key_format, environment):
    raw = key_format.generate(environment)
    assert re.fullmatch(rf"{key_format.prefix}_{environment}_[a-z2-7]{{32}}", raw)
    assert key_format.is_ours(raw)
    assert key_format.is_well_formed(raw)
    assert key_format.shown(raw) == raw[:12]


def test_every_issued_key_is_different():
    assert len({KeyFormat().generate() for _ in range(1000)}) == 1000


@given(st.integers(0, 39), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567ABCXYZ_01 é"))
def test_a_mistyped_key_is_not_well_formed(place, character):
    """One character at any place. A wrong one passes by chance once in four billion."""
    raw = "ff_live_" + "rkpxv2hx5drnmvfj4hnwq7k7axw4vzq6"
    raw = KeyFormat().generate() if not KeyFormat().is_well_formed(raw) else raw
    mistyped = raw[:place] + character + raw[place + 1 :]
    assert mistyped == raw or not KeyFormat().is_well_formed(mistyped)


@given(st.text())
def test_no_text_breaks_the_check_or_the_digest(text):
    assert not KeyFormat().is_well_formed(text)
    assert not KeyFormat().is_well_formed(f"ff_live_{text}")
    assert len(KeyFormat().digest(text)) == 43


def test_a_checksum_cannot_be_made_without_the_pepper():
    assert not KeyFormat("ff", PEPPER).is_well_formed(KeyFormat("ff").generate())
    assert not KeyFormat("ff", PEPPER).is_well_formed(KeyFormat("ff", PEPPER[::-1]).generate())


def test_the_digest_is_sha256_of_the_key():
    plain = hashlib.sha256(b"some key").digest()
    assert KeyFormat().digest("some key") == urlsafe_b64encode(plain).decode().rstrip("=")


def test_the_digest_of_a_key_follows_from_its_sha256_even_with_a_pepper():
    key_format = KeyFormat("ff", PEPPER)
    assert key_format.digest("some key") == key_format.digest_of_sha256(hashlib.sha256(b"some key").digest())
    assert key_format.digest("some key") != KeyFormat("ff").digest("some key")


def test_the_pepper_comes_from_the_environment():
    assert KeyFormat.from_environment("ff", {"LIMITER_PEPPER": PEPPER.decode()}) == KeyFormat("ff", PEPPER)
    assert KeyFormat.from_environment("ff", {}) == KeyFormat("ff")


def test_a_pepper_is_not_shown():
    assert PEPPER.decode() not in repr(KeyFormat("ff", PEPPER))


@pytest.mark.parametrize("prefix", ["", "FF", "f_f", "1f", "f" * 17, "ff\n"])
def test_an_ambiguous_prefix_is_refused(prefix):
    with pytest.raises(InvalidRecord, match="key prefix"):
        KeyFormat(prefix)


def test_a_short_pepper_is_refused_without_repeating_it():
    with pytest.raises(InvalidRecord, match="16 or more") as refused:
        KeyFormat("ff", b"salty")
    assert "salty" not in str(refused.value)


@pytest.mark.parametrize(("raw", "shown"), [("x", ""), ("secret", "se"), ("s" * 36, "s" * 12), ("s" * 500, "s" * 12)])
def test_at_most_a_third_of_a_foreign_key_is_shown(raw, shown):
    assert KeyFormat().shown(raw) == shown
