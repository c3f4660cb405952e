"""The rules as the data plane sees them: with all that can be worked out from them once, kept at hand.

A view goes by one file only; when the rules change there is a new one, so a request is answered by exactly one of the two files.
"""

from __future__ import annotations

from dataclasses import dataclass

from limiter.addresses import subject_of
from limiter.api.identity import Directory, Identity
from limiter.api.numbers import Numbers
from limiter.api.routes.matching import Route
from limiter.api.rules import Rules
from limiter.charge import Charge
from limiter.policy import Policy
from limiter.protocol.group import Group, state_key

_MOST_ADDRESSES = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request is charged, and how its decision is told. Used by many requests, so nothing in it changes."""

    group: Group
    numbers: Numbers


class View:
    def __init__(self, rules: Rules, directory: Directory, prefix: str) -> None:
        self.rules, self.directory, self._prefix = rules, directory, prefix
        self.trusts = rules.trusts
        self._numbers: dict[tuple[Policy, ...], Numbers] = {}
        self._addresses: dict[tuple[str, int], Identity] = {}

    def anonymous(self, ip: str, policy: Policy) -> Identity:
        """A caller known by address alone."""
        subject = subject_of(ip)
        known = self._addresses.get((subject, id(policy)))
        if known is None:
            if len(self._addresses) >= _MOST_ADDRESSES:
                self._addresses.clear()
            known = self._addresses[subject, id(policy)] = Identity(subject, subject, policy)
        return known

    def plan(self, identity: Identity, route: Route) -> Plan:
        # Not by the route: an odd spelling of a path may have one of its own, and there is no end of those.
        place = (route.cost, id(route.policy))
        plan: Plan | None = identity.plans.get(place)
        if plan is None:
            plan = identity.plans[place] = self._planned(identity, route)
        return plan

    def _planned(self, identity: Identity, route: Route) -> Plan:
        charges = [Charge(route.policy or identity.policy, identity.subject, route.cost)]
        if identity.account_policy is not None:
            charges.append(Charge(identity.account_policy, identity.account, route.cost))
        # A key that is named as its account is, and held to the same policy, is counted once: it is one count.
        keyed = {state_key(self._prefix, identity.account, charge): charge for charge in reversed(charges)}
        kept = tuple(reversed(keyed.values()))
        group = Group(kept, tuple(reversed(keyed)), guard=identity.guard)
        return Plan(group, self._numbers_of(tuple(charge.policy for charge in kept)))

    def _numbers_of(self, policies: tuple[Policy, ...]) -> Numbers:
        numbers = self._numbers.get(policies)
        if numbers is None:
            numbers = self._numbers[policies] = Numbers(policies, self.rules)
        return numbers
