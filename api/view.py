"""The rules in force, together with what the data plane derives from them once.

A reload makes a new View, so nothing that is cached here outlives its file, and each request follows exactly one file.
"""

from functools import lru_cache
from typing import NamedTuple

from limiter.addresses import subject_of
from limiter.api.identity import Directory, Identity, Refusal
from limiter.api.numbers import Numbers
from limiter.api.refused import AttemptNumbers
from limiter.api.routes.matching import Route
from limiter.api.rules import Rules
from limiter.charge import Charge
from limiter.policy import Policy
from limiter.protocol.group import Group, Operation, state_key

# How many anonymous callers are remembered. The one that was seen longest ago is dropped.
_MAX_ADDRESSES = 10_000
# How many pairs of a refused key and its address are remembered, likewise. A plan takes about 2 KB.
_MAX_ATTEMPTS = 2_000


class Plan(NamedTuple):
    """What a request is charged, and how the decision is rendered. Many requests share one."""

    group: Group
    numbers: Numbers | AttemptNumbers


class View:
    def __init__(self, rules: Rules, directory: Directory, prefix: str) -> None:
        self.rules, self.directory, self._prefix = rules, directory, prefix
        self.trusts = rules.trusts
        # With it, an anonymous caller costs 0.4 us instead of 4: the identity has its plans already.
        self._identity_at = lru_cache(_MAX_ADDRESSES)(_anonymous)
        # With it, the plan of a refused request costs 0.3 us instead of 15.
        self._attempt_of = lru_cache(_MAX_ATTEMPTS)(self._make_attempt)

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

    def attempt(self, refusal: Refusal, holder: Identity, address: str) -> Plan:
        """What a refused request with the key of this holder is charged."""
        return self._attempt_of(holder, subject_of(address), refusal.shows_numbers)

    def _make_attempt(self, holder: Identity, address: str, shows_numbers: bool) -> Plan:
        """One attempt of the key and one of the address, counted apart from everything else, and in the account of the key.

        So nobody uses up the limits of a key, or the attempts of an address with other keys, by misusing the key.
        """
        guard = self.rules.guard
        own = _charges(holder, holder.policy, 0) if shows_numbers else []
        charges = [*own, Charge(guard, f"refused-key:{holder.subject}"), Charge(guard, f"refused-from:{address}")]
        numbers = AttemptNumbers([charge.policy for charge in own] if own else None, guard, self.rules)
        return Plan(self._group(holder, charges, Operation.TAKE), numbers)

    def _make_plan(self, identity: Identity, route: Route) -> Plan:
        """A route of cost 0 charges nothing, but needs room for one unit."""
        cost, operation = (route.cost, Operation.TAKE) if route.cost else (1, Operation.PEEK)
        group = self._group(identity, _charges(identity, route.policy or identity.policy, cost), operation)
        return Plan(group, Numbers([charge.policy for charge in group.charges], self.rules))

    def _group(self, identity: Identity, charges: list[Charge], operation: Operation) -> Group:
        keys = tuple([state_key(self._prefix, identity.account, charge) for charge in charges])
        return Group(tuple(charges), keys, operation, identity.guard)


def _charges(identity: Identity, policy: Policy, cost: int) -> list[Charge]:
    """Of the key and of its account. A key may have the name and the policy of its account: both are then the same count, charged once."""
    of_key, account_policy = Charge(policy, identity.subject, cost), identity.account_policy
    if account_policy is None or (identity.account, account_policy.name) == (identity.subject, policy.name):
        return [of_key]
    return [of_key, Charge(account_policy, identity.account, cost)]


def _anonymous(subject: str, policy: Policy) -> Identity:
    return Identity(subject, subject, policy)
