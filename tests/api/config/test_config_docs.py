"""docs/configuration.md agrees with the code."""

import re
from pathlib import Path

import pytest

from limiter.api.config import forms, limit_forms
from limiter.api.config.loader import loads

PAGE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text("utf-8")
WHOLE = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1]
SECTIONS = dict(zip(re.findall(r"^## `(\w+)`$", PAGE, re.MULTILINE), re.split(r"^## `\w+`$", PAGE, flags=re.MULTILINE)[1:], strict=True))


def test_the_example_is_valid_without_warnings():
    assert loads(WHOLE).warnings == ()


def test_each_top_level_field_is_in_the_example_and_has_a_section():
    fields = set(forms.FileForm.model_fields)
    assert fields == set(SECTIONS)
    assert fields == set(re.findall(r"^(\w+):", WHOLE, re.MULTILINE))


@pytest.mark.parametrize(
    ("section", "form"),
    [
        ("policies", limit_forms.PolicyForm),
        ("policies", limit_forms.KindForm),
        ("tiers", forms.TierForm),
        ("identify", forms.IdentifyForm),
        ("routes", forms.RouteForm),
        ("redis", forms.RedisForm),
        ("accounts", forms.AccountForm),
        ("keys", forms.KeyForm),
        ("headers", forms.HeadersForm),
        ("credentials", forms.CredentialsForm),
        ("transport", forms.TransportForm),
        ("connections", forms.ConnectionsForm),
        ("upstream", forms.UpstreamForm),
        ("shutdown", forms.ShutdownForm),
        ("cors", forms.CorsForm),
        ("caller_headers", forms.CallerHeadersForm),
    ],
)
def test_each_field_is_documented(section, form):
    documented = set(re.findall(r"^\| `(\w+)` \|", SECTIONS[section].split("\n## ")[0], re.MULTILINE))
    assert set(form.model_fields) <= documented


@pytest.mark.parametrize("kind", ["sliding_window", "token_bucket", "quota"])
def test_each_field_of_a_kind_is_documented(kind):
    row = re.search(rf"^\| `{kind}` \| (.*) \|$", PAGE, re.MULTILINE)[1]
    form = {"sliding_window": "SlidingWindowForm", "token_bucket": "TokenBucketForm", "quota": "QuotaForm"}[kind]
    assert set(getattr(limit_forms, form).model_fields) <= set(re.findall(r"`(\w+)`", row))


@pytest.mark.parametrize(
    "limit", ["100/minute", "100/90s", "burst 50, 1200/minute", "quota 10000/month from 15 Europe/Berlin", "shadow 100/minute"]
)
def test_each_limit_in_the_table_is_valid(limit):
    assert f"`{limit}`" in PAGE
    assert loads(f"policies: {{p: {{limits: ['{limit}']}}}}").policies["p"].limits
