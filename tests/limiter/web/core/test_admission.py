"""The core of the integrations, with both clients and a real Redis."""

import asyncio
import json
import sys

import pytest

from limiter import AsyncLimiter, InvalidPolicy, Limiter, LimiterError, Policy, SlidingWindow
from limiter.web import RateLimit, Response
from limiter.web.core.admission import Admission
from limiter.web.core.running import run, run_async
from support.web.requests import Request

AWAY = "redis://127.0.0.1:1"


@pytest.fixture(scope="module", params=["sync", "async"])
def decide(request, server):
    """Runs steps on a client of either kind, as an integration does."""
    if request.param == "sync":
        with Limiter(server.url, deadline=5) as limiter:
            yield lambda steps: run(limiter, steps)
        return
    with asyncio.Runner() as runner:
        limiter = AsyncLimiter(server.url, deadline=5)
        yield lambda steps: runner.run(run_async(limiter, steps))
        runner.run(limiter.close())


@pytest.fixture
def admission(prefix):
    return lambda *limits, **options: Admission(limits, prefix=prefix, **options)


def states(ruling) -> dict[str, tuple[str, int]]:
    return {state.charge.policy.name: (state.charge.subject, state.remaining) for state in ruling.decision.limits}


def test_a_request_is_charged_by_the_address_of_its_client(admission, decide):
    admit = admission("2/minute").admit
    assert [decide(admit(Request())).decision.allowed for _ in range(3)] == [True, True, False]
    assert decide(admit(Request(peer="203.0.113.8"))).denial is None


def test_addresses_of_one_ipv6_network_are_one_subject(admission, decide):
    admit = admission("1/minute").admit
    assert decide(admit(Request(peer="2001:db8::1"))).denial is None
    assert decide(admit(Request(peer="2001:db8::2"))).denial
    assert decide(admit(Request(peer="2001:db8:0:1::1"))).denial is None


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "subject"),
    [
        ("10.0.0.1", "198.51.100.1, 198.51.100.2", "198.51.100.2"),
        ("10.0.0.1", "198.51.100.1,10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),
        ("", "198.51.100.1", "unknown"),
    ],
)
def test_x_forwarded_for_is_read_from_trusted_proxies_only(admission, decide, peer, forwarded_for, subject):
    ruling = decide(admission("2/minute", trusted_proxies=["10.0.0.0/8"]).admit(Request(peer=peer, forwarded_for=forwarded_for)))
    assert states(ruling) == {"default": (subject, 1)}


def test_the_peer_on_a_unix_socket_is_trusted_if_listed(admission, decide):
    ruling = decide(admission("2/minute", trusted_proxies=["unix:"]).admit(Request(peer="", forwarded_for="198.51.100.1")))
    assert states(ruling) == {"default": ("198.51.100.1", 1)}


def test_default_limits_and_those_of_the_endpoint_are_one_decision(admission, decide):
    admit = admission("3/minute").admit
    search = RateLimit("1/minute", subject="everyone", name="search")
    assert states(decide(admit(Request(), [search]))) == {"default": ("203.0.113.7", 2), "search": ("everyone", 0)}
    denied = decide(admit(Request(), [search]))
    assert denied.denial
    assert json.loads(denied.denial.body)["violated-policies"] == ["search.minute"]
    assert states(decide(admit(Request()))) == {"default": ("203.0.113.7", 1)}, "the denied request must not be charged"


def test_a_policy_that_is_declared_twice_is_charged_once_at_the_cost_of_the_endpoint(admission, decide):
    shared = Policy("shared", [SlidingWindow(10, 60)])
    admit = admission(shared).admit
    assert states(decide(admit(Request(), [RateLimit(shared, cost=4)]))) == {"shared": ("203.0.113.7", 6)}


def test_limits_apply_to_their_methods_and_paths(admission, decide):
    admit = admission(RateLimit("5/minute", methods=["post"], paths=["/login", "/api/*"])).admit
    for method, path, applies in [
        ("POST", "/login", True),
        ("GET", "/login", False),
        ("POST", "/login/x", False),
        ("POST", "/api", True),
        ("POST", "/api/", True),
        ("POST", "/api/v1", True),
        ("POST", "/apis", False),
        ("post", "/login", True),
        ("POST", "/login/", True),
        ("POST", "//login//", True),
        ("POST", "//api///v1", True),
    ]:
        assert (decide(admit(Request(method=method, path=path))) is not None) == applies, (method, path)


def test_a_limit_on_get_applies_to_head(admission, decide):
    admit = admission(RateLimit("5/minute", methods=["GET"])).admit
    assert decide(admit(Request(method="HEAD"))) is not None
    assert decide(admit(Request(method="POST"))) is None


def test_subject_policy_cost_and_account_come_from_the_request(admission, decide):
    limit = RateLimit(
        lambda request: request.headers["limits"],
        subject=lambda request: request.headers.get("user"),
        cost=lambda request: int(request.headers["cost"]),
    )
    admit = admission(limit, account=lambda request: request.headers["tenant"]).admit
    headers = {"limits": "10/minute", "user": "ada", "cost": "3", "tenant": "acme"}
    ruling = decide(admit(Request(headers=headers)))
    assert states(ruling) == {"default": ("ada", 7)}
    assert {charge.account for charge in ruling.decision.charges} == {"acme"}
    assert states(decide(admit(Request(headers={**headers, "limits": "20/minute"})))) == {"default": ("ada", 14)}
    assert decide(admit(Request(headers={"limits": "10/minute"}))) is None, "no subject"
    assert decide(admission(RateLimit(lambda _: None)).admit(Request())) is None, "no policy"


@pytest.mark.parametrize("written", ["two words", "{acme}", "", "x" * 1000, "\x00", "\ud800"])
def test_a_subject_that_cannot_be_one_counts_by_its_digest(admission, decide, written):
    ruling = decide(admission(RateLimit("2/minute", subject=lambda _: written)).admit(Request()))
    ((subject, _),) = states(ruling).values()
    assert subject.startswith("sha256:")


@pytest.mark.parametrize(
    ("written", "subject"),
    [("2001:db8::7", "2001:db8::/64"), ("::ffff:203.0.113.7", "203.0.113.7"), ("203.0.113.7", "203.0.113.7"), ("user:7", "user:7")],
)
def test_an_ipv6_address_from_a_function_counts_by_its_network(admission, decide, written, subject):
    assert states(decide(admission(RateLimit("2/minute", subject=lambda _: written)).admit(Request()))) == {"default": (subject, 1)}


def test_functions_may_be_async_where_something_awaits_them(admission, server):
    async def user(_):
        return "ada"

    async def price(_):
        return 2

    async def main():
        async with AsyncLimiter(server.url, deadline=5) as limiter:
            return await run_async(limiter, admission(RateLimit("5/minute", subject=user, cost=price)).admit(Request()))

    assert states(asyncio.run(main())) == {"default": ("ada", 3)}
    with Limiter(server.url) as limiter, pytest.raises(LimiterError, match="must not be async"):
        run(limiter, admission(RateLimit("5/minute", subject=user)).admit(Request()))


def test_exempt_requests_and_switched_off_limits_decide_nothing(admission, decide):
    exempting = {"exempt_paths": ["/health"], "exempt_when": lambda request: "internal" in request.headers}
    admit = admission("1/minute", **exempting).admit
    for request in (Request(path="/health"), Request(headers={"internal": "1"})):
        assert decide(admit(request, [RateLimit("1/minute", name="more")])) is None
    assert decide(admission("1/minute", enabled=False).admit(Request())) is None
    assert decide(admission(RateLimit("1/minute", exempt_when=lambda _: True)).admit(Request())) is None
    assert decide(admission().admit(Request())) is None


def test_limits_in_shadow_count_and_deny_nothing(admission, decide):
    seen = []
    admit = admission("1/minute", shadow=True, on_decision=lambda _, decision: seen.append(decision)).admit
    for _ in range(2):
        assert decide(admit(Request())).denial is None
    assert [decision.limits[0].blocks for decision in seen] == [False, True]


def test_a_denial_has_the_numbers_and_a_problem_body(admission, decide):
    admit = admission("1/minute").admit
    assert decide(admit(Request())).headers["X-RateLimit-Remaining"] == "0"
    denial = decide(admit(Request())).denial
    body = json.loads(denial.body)
    assert (denial.status, body["status"], body["violated-policies"]) == (429, 429, ["minute"])
    assert denial.headers["Retry-After"] in {"59", "60"}
    assert denial.headers["Retry-After"] in body["detail"]
    assert denial.headers["Content-Type"] == "application/problem+json"
    assert denial.headers["Cache-Control"] == "no-store"


def test_headers_can_be_switched_off_for_admitted_requests(admission, decide):
    admit = admission("1/minute", headers=False).admit
    assert decide(admit(Request())).headers == {}
    assert "Retry-After" in decide(admit(Request())).denial.headers


def test_without_redis_the_failure_mode_decides(admission, caplog):
    with Limiter(AWAY) as limiter:
        opened = run(limiter, admission("1/minute").admit(Request()))
        assert (opened.denial, opened.headers) == (None, {"X-RateLimit-Degraded": "open"})
        strict = Policy("strict", [SlidingWindow(5, 60)], failure="closed")
        for admit in (admission("1/minute", failure="closed").admit, admission("1/minute", strict).admit):
            denial = run(limiter, admit(Request())).denial
            assert (denial.status, denial.headers["Retry-After"]) == (503, "1")
            assert json.loads(denial.body)["degraded"] == "closed"
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3


def test_an_outage_is_logged_once(admission, decide, caplog):
    caplog.set_level("INFO", "limiter.web")
    admit = admission("1000/minute").admit
    with Limiter(AWAY) as away:
        for _ in range(3):
            run(away, admit(Request()))
    for _ in range(3):
        decide(admit(Request()))
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_charge_is_refunded_if_the_response_does_not_owe_it(admission, decide):
    failures = RateLimit("3/minute", name="failures", refund_when=lambda response: response.status < 400)
    admit = admission("10/minute", failures).admit
    for status, remaining in [(200, "3"), (401, "2"), (200, "2")]:
        ruling = decide(admit(Request()))
        assert ruling.may_refund
        decide(ruling.refund(Response(status, {})))
        assert f'"failures.minute";r={remaining};' in ruling.headers["RateLimit"]
    assert '"default.minute";r=7;' in ruling.headers["RateLimit"]


def test_a_failed_refund_leaves_the_response_as_it_is(admission, decide):
    ruling = decide(admission(RateLimit("3/minute", refund_when=lambda _: True)).admit(Request()))
    with Limiter(AWAY) as away:
        run(away, ruling.refund(Response(200, {})))
    assert ruling.headers["X-RateLimit-Remaining"] == "2"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RateLimit("10 a minute"), "limit must be text such as"),
        (lambda: RateLimit("10/minute", name="a name"), "policy name must be"),
        (lambda: RateLimit("10/minute", methods="GET"), r"methods must be a list such as \['GET'\], not 'GET'"),
        (lambda: RateLimit("10/minute", paths="/a"), r"paths must be a list such as \['/a'\], not '/a'"),
        (lambda: Admission(["1/s"], prefix="p", subject=str), "unknown option subject: an option of one limit belongs into RateLimit"),
        (lambda: Admission([7], prefix="p"), "limits must be text such as '100/minute', a Policy or a RateLimit, not 7"),
        (lambda: Admission([RateLimit("1/s"), RateLimit("2/s", paths=["/"]), "3/s"], prefix="p"), "different names, not 'default' twice"),
    ],
)
def test_mistakes_show_at_declaration(make, message):
    with pytest.raises(InvalidPolicy, match=message):
        make()


def test_a_long_subject_of_a_client_is_not_kept_in_memory(admission, decide):
    limit = RateLimit("2/minute", subject=lambda request: request.headers["key"])
    admit = admission(limit, account=lambda request: request.headers["key"]).admit
    long = "k" * 1000
    references = sys.getrefcount(long)
    denials = [decide(admit(Request(headers={"key": long}))).denial for _ in range(3)]
    assert [bool(denial) for denial in denials] == [False, False, True]
    assert sys.getrefcount(long) == references
