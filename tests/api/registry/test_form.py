"""The form of keys, and the digest by which they are known."""

import hashlib
import re
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter.api.registry import Form, InvalidRecord

PEPPER = b"a pepper of enough bytes"


@pytest.mark.parametrize("form", [Form("ff"), Form("frameflow", PEPPER)], ids=["plain", "peppered"])
@pytest.mark.parametrize("environment", ["live", "test"])
def test_a_key_is_its_prefix_environment_and_32_base32_characters(form, environment):
    raw = form.generate(environment)
    assert re.fullmatch(rf"{form.prefix}_{environment}_[a-z2-7]{{32}}", raw)
    assert form.is_ours(raw)
    assert form.is_well_formed(raw)
    assert form.shown(raw) == raw[:12]


def test_no_two_keys_are_the_same():
    assert len({Form().generate() for _ in range(1000)}) == 1000


@given(st.integers(0, 39), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567ABCXYZ_01 é"))
def test_a_mistyped_key_is_not_well_formed(place, character):
    """One character, wherever it is. That a wrong one fits by chance is one in four billion."""
    raw = "ff_live_" + "rkpxv2hx5drnmvfj4hnwq7k7axw4vzq6"
    raw = Form().generate() if not Form().is_well_formed(raw) else raw
    mistyped = raw[:place] + character + raw[place + 1 :]
    assert mistyped == raw or not Form().is_well_formed(mistyped)


@given(st.text())
def test_no_text_breaks_the_check_or_the_digest(text):
    assert not Form().is_well_formed(text)
    assert not Form().is_well_formed(f"ff_live_{text}")
    assert len(Form().digest(text)) == 43


def test_with_a_pepper_the_checksum_cannot_be_made_without_it():
    assert not Form("ff", PEPPER).is_well_formed(Form("ff").generate())
    assert not Form("ff", PEPPER).is_well_formed(Form("ff", PEPPER[::-1]).generate())


def test_the_digest_is_sha256_of_the_key():
    plain = hashlib.sha256(b"some key").digest()
    assert Form().digest("some key") == urlsafe_b64encode(plain).decode().rstrip("=")


def test_a_sha256_of_a_key_is_enough_to_know_it_by_with_a_pepper_too():
    form = Form("ff", PEPPER)
    assert form.digest("some key") == form.digest_of_sha256(hashlib.sha256(b"some key").digest())
    assert form.digest("some key") != Form("ff").digest("some key")


def test_the_pepper_comes_from_the_environment():
    assert Form.from_environment("ff", {"LIMITER_PEPPER": PEPPER.decode()}) == Form("ff", PEPPER)
    assert Form.from_environment("ff", {}) == Form("ff")


def test_a_pepper_is_not_shown():
    assert PEPPER.decode() not in repr(Form("ff", PEPPER))


@pytest.mark.parametrize("prefix", ["", "FF", "f_f", "1f", "f" * 17, "ff\n"])
def test_a_prefix_that_would_not_be_told_from_the_rest_is_refused(prefix):
    with pytest.raises(InvalidRecord, match="key prefix"):
        Form(prefix)


def test_a_short_pepper_is_refused_and_not_told():
    with pytest.raises(InvalidRecord, match="16 or more") as refused:
        Form("ff", b"salty")
    assert "salty" not in str(refused.value)


@pytest.mark.parametrize(("raw", "shown"), [("x", ""), ("secret", "se"), ("s" * 36, "s" * 12), ("s" * 500, "s" * 12)])
def test_of_a_foreign_key_at_most_a_third_is_shown(raw, shown):
    assert Form().shown(raw) == shown
