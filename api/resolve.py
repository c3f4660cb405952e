"""What a request is: what it is charged, an answer, or a key that has to be looked up first.

Every request passes the same gates, in the order in which they stand in `resolve`, which never waits. A new gate goes there, once.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from starlette.types import Scope

from limiter.api.answers import Answer, problem
from limiter.api.forwarded import Headers, InvalidDescription, Original, Trusts
from limiter.api.identity import MALFORMED, MISSING, UNKNOWN, Identity, Refusal, credential_in
from limiter.api.refused import Attempt
from limiter.api.routes.faults import Fault, RefusedPath
from limiter.api.routes.matching import Route
from limiter.api.view import Plan, View
from limiter.protocol.group import Group

_TLS = frozenset({"https", "wss"})

_EXEMPT = Answer(200)
_PLAINTEXT = problem(403, "This API accepts requests over TLS only.", reason="plaintext")

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
    # Of a key that is presumed not to exist. If the verdict is Stale, it does exist.
    doubt: LookUp | None = None


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
            return _presume_unknown(view, LookUp(credential, route, request.address))
    elif credential is MISSING and rules.anonymous is not None and route.scope is None:
        found = view.anonymous(request.address, rules.anonymous)
    else:
        found = credential
    return settle(view, route, request.address, found)


def settle(view: View, route: Route, address: str, found: Identity | Refusal) -> Charged:
    if isinstance(found, Refusal):
        return _refuse(view, address, found)
    plan = view.plan(found, route)
    return Charged(view, plan.group, plan, found)


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
    attempt = view.attempt(refusal, address)
    return Charged(view, attempt.group, attempt, refusal.holder, address)


def _presume_unknown(view: View, look_up: LookUp) -> Charged:
    """An attempt, which Redis charges only if the key does not exist: a flood of invented keys costs no lookups."""
    absence = view.directory.absence(look_up.credential)
    if absence is None:
        return _refuse(view, look_up.address, MALFORMED)
    attempt = view.attempt(UNKNOWN, look_up.address)
    return Charged(view, attempt.group.under(absence), attempt, None, look_up.address, look_up)
