"""What a request is: what it is charged, an answer, or a key that has to be looked up first.

Every request passes the same gates, in the order in which they stand in `resolve`, which never waits. A new gate goes there, once.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from starlette.types import Scope

from limiter.api import forwarded
from limiter.api.answers import Answer, problem
from limiter.api.forwarded import ConflictingPaths, Headers, Original, Trusts
from limiter.api.identity import CREDENTIAL_HEADERS, MISSING, Identity, Refusal, credential_in
from limiter.api.refused import refused, refused_after
from limiter.api.routes.faults import Fault, RefusedPath
from limiter.api.routes.matching import Route
from limiter.api.view import Plan, View
from limiter.decision import Decision

_HEADERS = forwarded.HEADERS | CREDENTIAL_HEADERS
_TLS = frozenset({"https", "wss"})

_EXEMPT = Answer(200)
_CONFLICTING = problem(400, "X-Original-URI, X-Forwarded-Uri and the path name different requests.", reason="conflicting-accounts")
_PLAINTEXT = problem(403, "This API accepts requests over TLS only.", reason="plaintext")

# What a refused request is charged: nothing, or one unit against guessing.
_LOOK, _ATTEMPT = Route(cost=0), Route(cost=1)

# Reads the original request from the scope and its headers: `forwarded.original` or `forwarded.proxied`.
Reader = Callable[[Scope, Headers, Trusts], Original]


class Charged(NamedTuple):
    """A request that needs a decision on `plan`. One with a `refusal` is refused in any case."""

    view: View
    identity: Identity
    plan: Plan
    refusal: Refusal | None = None

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


def resolve(view: View, scope: Scope, read: Reader) -> Charged | LookUp | Answer:
    rules, headers = view.rules, _relevant(scope)
    try:
        request = read(scope, headers, view.trusts)
        route = rules.route(request.method, request.path)
    except ConflictingPaths:
        return _CONFLICTING
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


def settle(view: View, route: Route, address: str, found: Identity | Refusal) -> Charged | Answer:
    if isinstance(found, Refusal):
        return _refuse(view, address, found)
    return Charged(view, found, view.plan(found, route))


@cache
def _refused_path(fault: Fault) -> Answer:
    """There are about a dozen faults."""
    return problem(fault.status, fault.detail, reason=fault.reason)


def _relevant(scope: Scope) -> dict[bytes, bytes]:
    """The headers that `resolve` reads, in one pass. A repeated header is joined as RFC 9110 says, so two credentials are invalid."""
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _HEADERS:
            found[name] = found[name] + b", " + value if name in found else value
    return found


def _refuse(view: View, address: str, refusal: Refusal) -> Charged | Answer:
    """The answer has the numbers of the refused key, or else those of the address. A failed attempt counts against the address."""
    guard, holder, route = view.rules.guard, refusal.holder, _LOOK
    if holder is None:
        if guard is None:
            return refused(refusal)
        holder, route = view.anonymous(address, guard), _ATTEMPT if refusal.attempt else _LOOK
    return Charged(view, holder, view.plan(holder, route), refusal)
