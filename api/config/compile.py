"""Compiles a checked form to rules: names of policies and tiers become the objects themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from limiter.addresses import Networks
from limiter.api.config.forms import AccountForm, FileForm, KeyForm, RouteForm, TierForm
from limiter.api.routes.matching import Route, Routes
from limiter.api.rules import FileAccount, FileKey, Rules, Tier
from limiter.policy import Policy


@dataclass(frozen=True, slots=True)
class _Names:
    policies: Mapping[str, Policy]
    tiers: Mapping[str, Tier]
    accounts: Mapping[str, FileAccount]

    def policy(self, name: str | None) -> Policy | None:
        return None if name is None else self.policies[name]


def compiled(form: FileForm, digest: str, warnings: tuple[str, ...]) -> Rules:
    names = _names(form)
    return Rules(
        policies=names.policies,
        tiers=names.tiers,
        accounts=names.accounts,
        order=form.identify.order,
        anonymous=names.policy(form.identify.anonymous),
        guard=names.policy(form.identify.guard),
        trusted_proxies=Networks(form.identify.trusted_proxies),
        routes=_routes(form.routes, names),
        keys=MappingProxyType({key.digest: key for key in (_key(each, names) for each in form.keys)}),
        reset=form.headers.reset,
        retry_after_ms=form.headers.retry_after_ms,
        should_retry=form.headers.should_retry,
        deny_status=form.deny_status,
        redis_url=form.redis.url,
        prefix=form.redis.prefix,
        deadline=form.redis.deadline,
        key_prefix=form.credentials.prefix,
        environments=frozenset(form.credentials.environments),
        require_tls=form.transport.require_tls,
        scopes=_scopes(form),
        digest=digest,
        warnings=warnings,
    )


def _names(form: FileForm) -> _Names:
    policies = {name: each.built(name, form.failure) for name, each in form.policies.items()}
    tiers = {name: _tier(name, each, policies) for name, each in form.tiers.items()}
    accounts = {name: _account(name, each, policies, tiers) for name, each in form.accounts.items()}
    return _Names(MappingProxyType(policies), MappingProxyType(tiers), MappingProxyType(accounts))


def _tier(name: str, form: TierForm, policies: Mapping[str, Policy]) -> Tier:
    account = policies[form.account] if form.account is not None else None
    return Tier(name, policies[form.key], account, None if form.scopes is None else frozenset(form.scopes))


def _account(name: str, form: AccountForm, policies: Mapping[str, Policy], tiers: Mapping[str, Tier]) -> FileAccount:
    tier = tiers[form.tier] if form.tier is not None else None
    return FileAccount(name, tier, form.state, policies[form.policy] if form.policy is not None else None)


def _scopes(form: FileForm) -> frozenset[str]:
    of_routes = {each.scope for each in form.routes if each.scope is not None}
    return frozenset(of_routes.union(*(each.scopes or () for each in form.tiers.values()), *(each.scopes for each in form.keys)))


def _key(form: KeyForm, names: _Names) -> FileKey:
    account = form.account or form.name
    tier = names.tiers[form.tier] if form.tier is not None else names.accounts[account].tier
    assert tier is not None  # noqa: S101 - its form refuses a key without a tier
    digest, peppered = form.digest
    return FileKey(
        name=form.name,
        digest=digest,
        account=account,
        tier=tier,
        scopes=frozenset(form.scopes),
        addresses=form.addresses,
        expires=form.expires,
        policy=names.policy(form.policy),
        state=form.state,
        peppered=peppered,
    )


def _routes(forms: tuple[RouteForm, ...], names: _Names) -> Routes:
    routes = Routes()
    for form in forms:
        route = Route(form.cost, names.policy(form.policy), form.exempt, form.scope, form.path.written)
        routes.add(form.path.segments, form.methods, route)
    return routes
