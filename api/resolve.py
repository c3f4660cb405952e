"""What a request is: what it is charged, an answer, or a key that has to be looked up first.

Every request passes the same gates, in the order in which they stand in `resolve`, which never waits. A new gate goes there, once.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from starlette.types import Scope

from limiter.addresses import Trusts
from limiter.api.answers import Answer, problem
from limiter.api.forwarded import Headers, InvalidDescription, Original
from limiter.api.identity import EXPIRED, MISSING, Identity, Refusal, credential_in
from limiter.api.refused import refused_after
from limiter.api.routes.faults import Fault, RefusedPath
from limiter.api.routes.matching import Route
from limiter.api.view import Plan, View
from limiter.decision import Decision

_TLS = frozenset({"https", "wss"})

_EXEMPT = Answer(200)
_PLAINTEXT = problem(403, "This API accepts requests over TLS only.", reason="plaintext")

# What a request without a known key is charged: nothing, or one attempt of its address.
_LOOK, _ATTEMPT = Route(cost=0), Route(cost=1)

# Reads the original request from the scope and its headers: `Gateway.original` or `forwarded.proxied`.
Reader = Callable[[Scope, Headers, Trusts], Original]


class Charged(NamedTuple):
    """A request that needs a decision on `plan`. One with a `refusal` is refused in any case, unless the identity is out of date."""

    view: View
    identity: Identity
    plan: Plan
    refusal: Refusal | None = None
    # Of a refused request.
    address: str = ""

    def is_early(self, decision: Decision) -> bool:
        """Whether the key has not expired yet by Redis's clock: the estimate of it, by which a request is refused, may be ahead."""
        expires_us = self.identity.expires_us
        if expires_us is None or self.refusal is None or self.identity.guard is None or decision.degraded:
            return False
        return self.refusal.reason == EXPIRED.reason and decision.decided_us < expires_us

    def answer(self, decision: Decision) -> Answer:
        numbers = self.plan.numbers
        if self.refusal is not None:
            return refused_after(self.refusal, numbers, decision)
        return numbers.allowed(decision) if decision.allowed else numbers.denied(decision)


class LookUp(NamedTuple):
    """A request with a key that is not in memory. Look it up in the directory, then `settle` the request."""

    credential: str
    route: Route
    address: str


Outcome = Charged | LookUp | Answer


def resolve(view: View, scope: Scope, read: Reader) -> Outcome:
    rules, headers = view.rules, _relevant(scope, view.headers)
    try:
        request = read(scope, headers, view.trusts)
        route = rules.route(request.method, request.path)
    except InvalidDescription as error:
        view.warn_of(error)
        return problem(error.status, str(error), reason=error.reason)
    except RefusedPath as refusal:
        return _refused_path(refusal.fault)
    if rules.require_tls and request.scheme not in _TLS:
        return _PLAINTEXT
    if route.exempt:
        return _EXEMPT
    credential = credential_in(headers, rules.order)
    if isinstance(credential, str):
        found = view.directory.recall(credential, route.scope, request.address)
        if found is None:
            return LookUp(credential, route, request.address)
    elif credential is MISSING and rules.anonymous is not None and route.scope is None:
        found = view.anonymous(request.address, rules.anonymous)
    else:
        found = credential
    return settle(view, route, request.address, found)


def settle(view: View, route: Route, address: str, found: Identity | Refusal) -> Charged:
    if isinstance(found, Refusal):
        return _refuse(view, address, found)
    return Charged(view, found, view.plan(found, route))


@cache
def _refused_path(fault: Fault) -> Answer:
    """There are about a dozen faults."""
    return problem(fault.status, fault.detail, reason=fault.reason)


def _relevant(scope: Scope, names: frozenset[bytes]) -> dict[bytes, bytes]:
    """The headers with these names, in one pass. A repeated header is joined as RFC 9110 says, so two credentials are invalid."""
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in names:
            found[name] = found[name] + b", " + value if name in found else value
    return found


def _refuse(view: View, address: str, refusal: Refusal) -> Charged:
    holder = refusal.holder
    if holder is not None:
        return Charged(view, holder, view.attempt(holder, address), refusal, address)
    caller = view.anonymous(address, view.rules.guard)
    return Charged(view, caller, view.plan(caller, _ATTEMPT if refusal.attempt else _LOOK), refusal, address)
