"""What docs/configuration.md says of the file is so."""

import re
from pathlib import Path

import pytest

from limiter.api.config import forms as config_forms
from limiter.api.config import limits as config_limits
from limiter.api.config.file import loads

PAGE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text("utf-8")
WHOLE = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1]
SECTIONS = dict(zip(re.findall(r"^## `(\w+)`$", PAGE, re.MULTILINE), re.split(r"^## `\w+`$", PAGE, flags=re.MULTILINE)[1:], strict=True))


def test_the_example_is_right_and_warns_of_nothing():
    assert loads(WHOLE).warnings == ()


def test_each_top_level_field_is_in_the_example_and_has_a_section():
    fields = set(config_forms.FileForm.model_fields)
    assert fields == set(SECTIONS)
    assert fields == set(re.findall(r"^(\w+):", WHOLE, re.MULTILINE))


@pytest.mark.parametrize(
    ("section", "form"),
    [
        ("policies", config_limits.PolicyForm),
        ("policies", config_limits.KindForm),
        ("tiers", config_forms.TierForm),
        ("identify", config_forms.IdentifyForm),
        ("routes", config_forms.RouteForm),
        ("redis", config_forms.RedisForm),
        ("accounts", config_forms.AccountForm),
        ("keys", config_forms.KeyForm),
        ("headers", config_forms.HeadersForm),
        ("credentials", config_forms.CredentialsForm),
        ("transport", config_forms.TransportForm),
    ],
)
def test_each_field_is_told(section, form):
    told = set(re.findall(r"^\| `(\w+)` \|", SECTIONS[section].split("\n## ")[0], re.MULTILINE))
    assert set(form.model_fields) <= told


@pytest.mark.parametrize("kind", ["sliding_window", "token_bucket", "quota"])
def test_each_field_of_a_kind_is_told(kind):
    row = re.search(rf"^\| `{kind}` \| (.*) \|$", PAGE, re.MULTILINE)[1]
    form = {"sliding_window": "SlidingWindowForm", "token_bucket": "TokenBucketForm", "quota": "QuotaForm"}[kind]
    assert set(getattr(config_limits, form).model_fields) <= set(re.findall(r"`(\w+)`", row))


@pytest.mark.parametrize(
    "limit", ["100/minute", "100/90s", "burst 50, 1200/minute", "quota 10000/month from 15 Europe/Berlin", "shadow 100/minute"]
)
def test_each_text_of_a_limit_that_is_shown_is_understood(limit):
    assert f"`{limit}`" in PAGE
    assert loads(f"policies: {{p: {{limits: ['{limit}']}}}}").policies["p"].limits
