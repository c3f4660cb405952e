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
from limiter.api.identity import MISSING, UNKNOWN, Identity, Refusal, credential_in
from limiter.api.refused import Attempt
from limiter.api.routes.faults import Fault, RefusedPath
from limiter.api.routes.matching import Route
from limiter.api.view import Plan, View
from limiter.protocol.group import Group, Guard

# The same as calling the named tuple, at a third of the time.
_new = tuple.__new__

_TLS = frozenset({"https", "wss"})

_PLAINTEXT = problem(403, "This API accepts requests over TLS only.", reason="plaintext")

# What a preflight is charged, whatever its route. It has no key, and no page can give it one.
_PREFLIGHT = Route()

# Reads the original request from the scope and its headers: `Gateway.original` or `forwarded.proxied`.
Reader = Callable[[Scope, Headers, Trusts], Original]


class LookUp(NamedTuple):
    """A request with a key that is not in memory. Look it up in the directory, then `settle` the request."""

    credential: str
    route: Route
    address: str


class Charged(NamedTuple):
    """A request that needs a decision on `group`. Unless the verdict is Stale, `plan` has the answer."""

    view: View
    group: Group
    plan: Plan | Attempt
    # What the request rests on. If the verdict is Stale, it is out of date.
    identity: Identity | None = None
    address: str = ""
    # Whether the key is presumed not to exist. If the verdict is Stale, it does exist, and `resolve` without presuming returns a LookUp.
    presumed: bool = False


Outcome = Charged | LookUp | Answer


def resolve(view: View, scope: Scope, read: Reader, *, presume: bool = True) -> Outcome:
    """With `presume`, a key that is not in memory is presumed not to exist, under a guard with which Redis checks that."""
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
        return view.exempt
    credential = credential_in(headers, rules.order)
    if isinstance(credential, str):
        find = view.directory.presume if presume else view.directory.recall
        found = find(credential, route.scope, request.address)
        if found is None:
            return LookUp(credential, route, request.address)
    elif credential is MISSING and (guard := view.preflight_guard(request.method, headers)) is not None:
        route, found = _PREFLIGHT, view.anonymous(request.address, guard)
    elif credential is MISSING and rules.anonymous is not None and route.scope is None:
        found = view.anonymous(request.address, rules.anonymous)
    else:
        found = credential
    return settle(view, route, request.address, found)


def settle(view: View, route: Route, address: str, found: Identity | Refusal | Guard) -> Charged:
    if isinstance(found, Identity):
        plan = view.plan(found, route)
        return _new(Charged, (view, plan.group, plan, found, address, False))
    if isinstance(found, Refusal):
        attempt = view.attempt(found, address)
        return _new(Charged, (view, attempt.group, attempt, found.holder, address, False))
    # An attempt with an unknown key, unless Redis finds that the key exists. So an invented key costs no lookup.
    attempt = view.attempt(UNKNOWN, address)
    return _new(Charged, (view, attempt.group.under(found), attempt, None, address, True))


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
