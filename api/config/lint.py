"""What a file may say and hardly means: told when it is read, and no reason to refuse it."""

from __future__ import annotations

from collections.abc import Iterator

from limiter.api.config.forms import FileForm
from limiter.api.config.mistakes import Mistake
from limiter.api.config.tree import Node, Step, dotted
from limiter.api.routes.matching import Route, Routes

Warned = Iterator[tuple[tuple[Step, ...], str]]


def warnings_about(form: FileForm, file: str, tree: Node) -> tuple[str, ...]:
    found = (*_unreachable(form), *_too_dear(form), *_unused(form), *_nobody(form), *_believed(form))
    return tuple(str(mistake) for mistake in sorted(Mistake(file, _line(tree, path), dotted(path), text) for path, text in found))


def _line(tree: Node, path: tuple[Step, ...]) -> int:
    for step in path:
        tree = tree.child(step) or tree
    return tree.line


def _unreachable(form: FileForm) -> Warned:
    routes = Routes()
    for place, each in enumerate(form.routes):
        if routes.hides(each.path.segments, each.methods):
            yield ("routes", place), f"{each.path.written} is never reached: a route above it takes all that it would; move it up"
        routes.add(each.path.segments, each.methods, Route())


def _too_dear(form: FileForm) -> Warned:
    for place, each in enumerate(form.routes):
        named = [each.policy] if each.policy is not None else [tier.key for tier in form.tiers.values()]
        for policy in dict.fromkeys(named):
            limits = form.policies[policy].built(policy, form.failure).limits
            capacity = min((limit.capacity for limit in limits if not limit.shadow), default=each.cost)
            if each.cost > capacity:
                text = f"{each.cost} is above the {capacity} of policy {policy}, so such a request never passes: lower it or raise that"
                yield ("routes", place, "cost"), text


def _unused(form: FileForm) -> Warned:
    used = {form.identify.anonymous, form.identify.guard}
    used |= {each.policy for each in form.routes} | {each.policy for each in form.keys} | {each.policy for each in form.accounts.values()}
    used |= {name for tier in form.tiers.values() for name in (tier.key, tier.account)}
    for name in form.policies:
        if name not in used:
            yield ("policies", name), "no tier, route or key has this policy: only programs that ask for it by name are held to it"


def _nobody(form: FileForm) -> Warned:
    if not form.tiers and form.identify.anonymous is None:
        yield ("policies",), "no caller of /authorize is let in: define a tier for keys, or identify.anonymous for everybody else"


def _believed(form: FileForm) -> Warned:
    for place, each in enumerate(form.identify.trusted_proxies):
        if each.prefixlen == 0:
            yield (
                ("identify", "trusted_proxies", place),
                "everybody is believed, and can claim any address: name your proxies alone",
            )
    if form.transport.require_tls and not form.identify.trusted_proxies:
        text = "no proxy is believed about TLS, so all requests are refused unless the sidecar ends TLS itself: name your proxies"
        yield ("transport", "require_tls"), text
