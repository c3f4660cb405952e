"""Warnings about a valid file: what it says is allowed, but probably not what its author means."""

from collections.abc import Iterator

from limiter.api.config.forms import FileForm
from limiter.api.config.mistakes import Mistake
from limiter.api.config.tree import Node, Step, dotted
from limiter.api.routes.matching import Route, Routes

_FORBIDDEN = 403

Warnings = Iterator[tuple[tuple[Step, ...], str]]


def warnings_about(form: FileForm, file: str, tree: Node) -> tuple[str, ...]:
    checks = (_unreachable_routes, _impossible_costs, _unused_policies, _no_callers, _trust, _gateway)
    found = [warning for check in checks for warning in check(form)]
    return tuple(str(mistake) for mistake in sorted(Mistake(file, tree.nearest(path)[1].line, dotted(path), text) for path, text in found))


def _unreachable_routes(form: FileForm) -> Warnings:
    routes = Routes()
    for place, each in enumerate(form.routes):
        if routes.hides(each.path.segments, each.methods):
            yield ("routes", place), f"{each.path.written} never matches: routes above it match the same requests; move it up"
        routes.add(each.path.segments, each.methods, Route())


def _impossible_costs(form: FileForm) -> Warnings:
    for place, each in enumerate(form.routes):
        named = [each.policy] if each.policy is not None else [tier.key for tier in form.tiers.values()]
        for policy in dict.fromkeys(named):
            limits = form.policies[policy].built(policy, form.failure).limits
            capacity = min((limit.capacity for limit in limits if not limit.shadow), default=each.cost)
            if each.cost > capacity:
                text = f"cost {each.cost} is above the capacity {capacity} of policy {policy}, so every such request is denied"
                yield ("routes", place, "cost"), f"{text}: lower the cost or raise the capacity"


def _unused_policies(form: FileForm) -> Warnings:
    used = {form.identify.anonymous, form.identify.guard}
    used |= {form.cors.guard} if form.cors else set()
    used |= {each.policy for each in form.routes} | {each.policy for each in form.keys} | {each.policy for each in form.accounts.values()}
    used |= {name for tier in form.tiers.values() for name in (tier.key, tier.account)}
    for name in form.policies:
        if name not in used:
            yield ("policies", name), "is not used by any tier, route or key: it applies only to programs that name it in a /v1 request"


def _no_callers(form: FileForm) -> Warnings:
    if not form.tiers and form.identify.anonymous is None:
        yield ("policies",), "/authorize refuses every caller: define a tier for keys, or set identify.anonymous for callers without a key"


def _gateway(form: FileForm) -> Warnings:
    gateway, proxies = form.identify.gateway, form.identify.trusted_proxies
    if proxies and gateway is None:
        text = "identify.gateway is not set, so /authorize refuses a gateway that describes its client's request in headers"
        yield ("identify", "trusted_proxies"), f"{text}: set it to nginx, forwarded or envoy, or to none for load balancers"
    if gateway not in (None, "none") and not proxies:
        yield ("identify", "gateway"), "no peer is trusted, so no gateway is believed: set identify.trusted_proxies to its addresses"
    if gateway == "nginx" and form.deny_status != _FORBIDDEN:
        yield ("identify", "gateway"), "nginx's auth_request turns denials with status 429 into 500: set deny_status to 403"


def _trust(form: FileForm) -> Warnings:
    for place, each in enumerate(form.identify.trusted_proxies):
        if each.prefixlen == 0:
            yield ("identify", "trusted_proxies", place), "every peer is trusted, and can claim any address: list your proxies only"
    if form.transport.require_tls and not form.identify.trusted_proxies:
        text = "no proxy is trusted to report TLS, so every plaintext connection is refused: set identify.trusted_proxies or --tls-cert"
        yield ("transport", "require_tls"), text
    if form.v1 == "trusted" and not form.identify.trusted_proxies:
        yield ("v1",), "no proxy is trusted, so only this machine may call /v1: set identify.trusted_proxies, or v1 to loopback"
