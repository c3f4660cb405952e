"""The rules in force, together with what the data plane derives from them once.

A reload makes a new View, so nothing that is cached here outlives its file, and each request follows exactly one file.
"""

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import structlog
from starlette.types import Scope

from limiter.addresses import subject_of
from limiter.api.answers import Answer
from limiter.api.forwarded import InvalidDescription
from limiter.api.identity import CREDENTIAL_HEADERS, Directory, Identity, Refusal
from limiter.api.numbers import Numbers
from limiter.api.outgoing.caller_headers import ANONYMOUS
from limiter.api.outgoing.cors import CORS_HEADERS
from limiter.api.refused import Attempt, attempt_of
from limiter.api.routes.matching import Route
from limiter.api.rules import Rules
from limiter.charge import Charge
from limiter.decision import Decision
from limiter.policy import Policy
from limiter.protocol.group import Group, Operation, state_key

# How many anonymous callers are remembered. The one that was seen longest ago is dropped.
_MAX_ADDRESSES = 10_000
# How many pairs of a refusal and its address are remembered, likewise. An attempt takes about 1 KB.
_MAX_ATTEMPTS = 10_000

_WARNINGS_APART_S = 60

_OK, _FORBIDDEN = 200, 403
_EXEMPT = Answer(200)

_log = structlog.get_logger("limiter.gateway")


class Plan(NamedTuple):
    """What a request is charged, and how the decision is rendered. Many requests share one."""

    group: Group
    numbers: Numbers

    def answer(self, decision: Decision) -> Answer:
        return self.numbers.allowed(decision) if decision.allowed else self.numbers.denied(decision)


class View:
    def __init__(self, rules: Rules, directory: Directory, prefix: str) -> None:
        self.rules, self.directory, self._prefix = rules, directory, prefix
        self.trusts = rules.trusts
        self.original = rules.gateway.original
        # All headers that are read of a request.
        self.headers = rules.gateway.headers | CREDENTIAL_HEADERS | (CORS_HEADERS if rules.cors else frozenset[bytes]())
        # How an answer to a gateway is finished. None if it is sent as it is.
        signs = rules.caller_headers is not None and rules.caller_headers.signs
        self.finish = self._finish if rules.deny_status == _FORBIDDEN or rules.cors is not None or signs else None
        # The answer to requests that are not judged.
        self.exempt = rules.caller_headers.stated(ANONYMOUS, _EXEMPT) if rules.caller_headers else _EXEMPT
        # With it, an anonymous caller costs 0.4 us instead of 4: the identity has its plans already.
        self._identity_at = lru_cache(_MAX_ADDRESSES)(_anonymous)
        # With it, the plan of a refused request costs 0.2 us instead of 22.
        self._attempt_of = lru_cache(_MAX_ATTEMPTS)(self._make_attempt)
        self._next_warning = 0.0

    def warn_of(self, error: InvalidDescription) -> None:
        """Some gateways drop the body that says what is wrong. Clients can cause these errors too, so one line a minute is logged."""
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + _WARNINGS_APART_S
            _log.warning("a request of a gateway is refused", reason=error.reason, detail=str(error))

    def preflight_guard(self, method: str, headers: Mapping[bytes, bytes]) -> Policy | None:
        """The policy of a preflight. None for other requests."""
        cors = self.rules.cors
        return cors.guard if cors is not None and cors.is_preflight(method, headers) else None

    def _finish(self, scope: Scope, answer: Answer) -> Answer:
        rules = self.rules
        if answer.status == _OK:
            if rules.caller_headers is None or not rules.caller_headers.signs:
                return answer
            request = self.original(scope, dict(scope["headers"]), self.trusts)
            return rules.caller_headers.signed(answer, request.method, request.path)
        if rules.deny_status == _FORBIDDEN:
            answer = answer.as_forbidden()
        return answer if rules.cors is None else rules.cors.readable(scope["headers"], answer)

    def anonymous(self, address: str, policy: Policy) -> Identity:
        return self._identity_at(subject_of(address), policy)

    def plan(self, identity: Identity, route: Route) -> Plan:
        """Made once for each identity (0.1 us instead of 4), and dropped with it."""
        # By cost and policy, because a file has few of them. Routes are unbounded: each spelling of a path may have its own.
        key = (route.cost, id(route.policy))
        plan: Plan | None = identity.plans.get(key)
        if plan is None:
            plan = identity.plans[key] = self._make_plan(identity, route)
        return plan

    def attempt(self, refusal: Refusal, address: str) -> Attempt:
        """What a refused request from this address is charged."""
        return self._attempt_of(refusal.holder, refusal, subject_of(address))

    def _make_attempt(self, holder: Identity | None, refusal: Refusal, address: str) -> Attempt:
        """One attempt of the address and, if the key is known, of the key: apart from everything else, and in the account of the key.

        So misusing a key does not use up its own limits, or the attempts that its addresses have with other keys.
        """
        guard = self.rules.guard
        if holder is None:
            holder, charges = _anonymous(address, guard), [Charge(guard, address)]
        else:
            charges = [Charge(guard, f"refused-key:{holder.subject}"), Charge(guard, f"refused-from:{address}")]
        plan = self._planned(holder, charges, Operation.TAKE if refusal.attempt else Operation.PEEK)
        return attempt_of(refusal, plan.group, plan.numbers)

    def _make_plan(self, identity: Identity, route: Route) -> Plan:
        """A route of cost 0 charges nothing, but needs room for one unit."""
        cost, operation = (route.cost, Operation.TAKE) if route.cost else (1, Operation.PEEK)
        charges = [Charge(route.policy or identity.policy, identity.subject, cost)]
        if identity.account_policy is not None:
            charges.append(Charge(identity.account_policy, identity.account, cost))
        return self._planned(identity, charges, operation)

    def _planned(self, identity: Identity, charges: list[Charge], operation: Operation) -> Plan:
        # A key may have the name and the policy of its account. Both are then the same count, which is charged once.
        by_key = {state_key(self._prefix, identity.account, charge): charge for charge in charges}
        group = Group(tuple(by_key.values()), tuple(by_key), operation, identity.guard)
        return Plan(group, Numbers([charge.policy for charge in by_key.values()], self.rules))


def _anonymous(subject: str, policy: Policy) -> Identity:
    return Identity(subject, subject, policy)
