"""The options of a load test: what they mean, and what is wrong with others."""

import pytest
from judge.requests import Request
from users.checks import checked
from users.plan import Defaults, InvalidPlan, Limits, keys_of, limits_of, planned

from limiter import Quota, SlidingWindow, TokenBucket
from support.pages import ROOT

EXAMPLES = ROOT / "examples"


@pytest.fixture
def keys(tmp_path):
    (tmp_path / "keys").write_text("# a comment\nff_live_one acme\n\nff_live_two\n")
    return str(tmp_path / "keys")


def test_limits_are_separated_by_commas():
    text = "100/minute,1000/hour, burst 50, 1200/minute, quota 5/day"
    assert limits_of({"limits": text}).key == [
        SlidingWindow.per_minute(100),
        SlidingWindow.per_hour(1000),
        TokenBucket(50, 1200, "minute"),
        Quota.daily(5),
    ]


def test_shadow_limits_are_not_judged():
    assert limits_of({"limits": "100/minute, shadow 5/s, shadow burst 2, 5/s"}).key == [SlidingWindow.per_minute(100)]
    with pytest.raises(InvalidPlan, match="all of these are in shadow"):
        limits_of({"limits": "shadow 5/s"})


def test_limits_may_come_from_the_configuration_of_a_sidecar():
    found = limits_of({"sidecar_config": str(EXAMPLES / "fileforge.yaml"), "tier": "pro"})
    assert found == Limits([SlidingWindow.per_minute(60)], [Quota.daily(1000)])


def test_a_tier_must_be_one_of_the_configuration():
    with pytest.raises(InvalidPlan, match=r"--tier must be one of free, pro, business, not gold"):
        limits_of({"sidecar_config": str(EXAMPLES / "fileforge.yaml"), "tier": "gold"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "--limits must be the limits of each key"),
        ({"limits": "100/fortnight"}, "--limits: limit '100/fortnight'"),
        ({"limits": "5/s", "account_limits": "many"}, "--account-limits: limit must be text"),
        ({"sidecar_config": "nowhere.yaml", "tier": "free"}, "--sidecar-config: "),
        ({"limits": "5/s", "path": "items"}, "--path must begin with a slash, not 'items'"),
        ({"limits": "5/s", "header": ["X-Tenant"]}, "--header must be 'NAME: VALUE', not 'X-Tenant'"),
        ({"limits": "5/s", "keys": ""}, "--keys must be a file with one API key per line"),
        ({"limits": "5/s", "keys": "nowhere"}, "--keys must be a file that this machine can read, not 'nowhere': No such file"),
    ],
)
def test_mistakes_name_the_option_and_the_value(keys, options, message):
    with pytest.raises(InvalidPlan, match=message):
        planned({"keys": keys, **options}, Defaults)


def test_a_key_is_named_by_its_line(keys):
    assert [(key.secret, key.name, key.account) for key in keys_of(keys)] == [
        ("ff_live_one", "key 2", "account acme"),
        ("ff_live_two", "key 4", "account of key 4"),
    ]


def test_a_line_has_at_most_a_key_and_an_account(tmp_path):
    (tmp_path / "keys").write_text("one acme pro\n")
    with pytest.raises(InvalidPlan, match=r"a line of --keys must be a key and perhaps its account, and line 1 .* has 3 words"):
        keys_of(str(tmp_path / "keys"))
    (tmp_path / "keys").write_text("\n")
    with pytest.raises(InvalidPlan, match="has none"):
        keys_of(str(tmp_path / "keys"))


@pytest.mark.parametrize(
    ("header", "sent"),
    [
        ("Authorization: Bearer", {"Authorization": "Bearer ff_live_one"}),
        ("x-api-key", {"x-api-key": "ff_live_one"}),
        ("X-Forwarded-For:", {"X-Forwarded-For": "ff_live_one"}),
    ],
)
def test_the_header_of_the_key_is_free(keys, header, sent):
    plan = planned({"keys": keys, "limits": "5/s", "key_header": header}, Defaults)
    assert plan.headers_of(plan.keys[0]) == sent


@pytest.mark.parametrize(
    ("gateway", "path", "headers"),
    [
        (None, "/items", {}),
        ("envoy", "/authorize/items", {}),
        ("none", "/authorize/items", {}),
        ("nginx", "/authorize", {"X-Original-Method": "PUT", "X-Original-URI": "/items"}),
        ("forwarded", "/authorize", {"X-Forwarded-Method": "PUT", "X-Forwarded-Uri": "/items"}),
    ],
)
def test_forward_auth_describes_the_request_as_the_gateway_does(keys, gateway, path, headers):
    plan = planned({"keys": keys, "limits": "5/s", "path": "/items", "method": "PUT", "forward_auth": gateway}, Defaults)
    assert (plan.path, plan.headers) == (path, headers)


def test_options_take_precedence_over_the_user_class(keys):
    class Users(Defaults):
        path, key_header = "/of-the-class", "x-api-key"

    plan = planned({"keys": keys, "limits": "5/s", "path": "/option"}, Users)
    assert (plan.path, plan.secret_header) == ("/option", ("x-api-key", "{}"))


def test_statuses_below_400_are_admitted():
    assert [status for status in (0, 200, 304, 401, 404, 429, 500) if Request(0, 1, status).admitted] == [200, 304]
    assert [status for status in (0, 200, 304, 401, 404, 429, 500) if Request(0, 1, status).failed] == [0, 401, 404, 500]


@pytest.mark.parametrize(
    ("shape", "limits", "run_time", "message"),
    [
        ("ramp", "100/minute", None, "--shape ramp needs a --run-time"),
        ("edge", "burst 5, 1/s", 60, "--shape edge needs a limit with a window"),
        ("edge", "20/3s", 5, r"--shape edge needs a --run-time of at least 7.8s to meet the edge of a window, not 5s"),
    ],
)
def test_a_shape_must_fit_the_limits_and_the_run_time(keys, shape, limits, run_time, message):
    with pytest.raises(InvalidPlan, match=message):
        checked({"keys": keys, "limits": limits, "shape": shape}, [Defaults], run_time)


def test_the_users_of_a_test_have_the_same_limits(keys):
    class Deframe(Defaults):
        sidecar_config, tier = EXAMPLES / "deframe.yaml", "standard"

    class FrameFlow(Defaults):
        sidecar_config, tier = EXAMPLES / "frameflow.yaml", "standard"

    with pytest.raises(InvalidPlan, match="those of Deframe, FrameFlow differ: name one of them, or set --limits"):
        checked({"keys": keys, "shape": "mixed"}, [Deframe, FrameFlow], 60)
    checked({"keys": keys, "shape": "mixed", "limits": "5/s"}, [Deframe, FrameFlow], 60)
