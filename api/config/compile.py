"""Compiles a checked form to rules: names of policies and tiers become the objects themselves."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from limiter.addresses import Networks
from limiter.api.config.forms import AccountForm, CorsForm, FileForm, KeyForm, TierForm
from limiter.api.config.outgoing_forms import CallerHeadersForm
from limiter.api.forwarded import GATEWAYS
from limiter.api.outgoing.caller_headers import CallerHeaders
from limiter.api.outgoing.cors import Cors
from limiter.api.routes.matching import Route, Routes
from limiter.api.rules import (
    ConnectionBounds,
    FileAccount,
    FileKey,
    Rules,
    Shutdown,
    Tier,
    UpstreamTimeouts,
    default_guard,
    default_preflight_guard,
)
from limiter.policy import Failure, Policy

T = TypeVar("T")


def compiled(form: FileForm, digest: str, warnings: tuple[str, ...]) -> Rules:
    policies = {name: each.built(name, form.failure) for name, each in form.policies.items()}
    tiers = {name: _tier(name, each, policies) for name, each in form.tiers.items()}
    accounts = {name: _account(name, each, policies, tiers) for name, each in form.accounts.items()}
    return Rules(
        policies=MappingProxyType(policies),
        tiers=MappingProxyType(tiers),
        accounts=MappingProxyType(accounts),
        order=form.identify.order,
        anonymous=_named(form.identify.anonymous, policies),
        gateway=GATEWAYS[form.identify.gateway or "none"],
        guard=_named(form.identify.guard, policies) or default_guard(form.failure),
        trusted_proxies=Networks(form.identify.trusted_proxies),
        routes=_routes(form, policies),
        keys=MappingProxyType({key.digest: key for key in (_key(each, policies, tiers, accounts) for each in form.keys)}),
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
        v1=form.v1,
        connections=ConnectionBounds(**dict(form.connections)),
        upstream=UpstreamTimeouts(**dict(form.upstream)),
        shutdown=Shutdown(**dict(form.shutdown)),
        cors=_cors(form.cors, form.failure, policies),
        caller_headers=_caller_headers(form.caller_headers),
        scopes=_scopes(form),
        digest=digest,
        warnings=warnings,
    )


def _named(name: str | None, definitions: Mapping[str, T]) -> T | None:
    return None if name is None else definitions[name]


def _tier(name: str, form: TierForm, policies: Mapping[str, Policy]) -> Tier:
    scopes = None if form.scopes is None else frozenset(form.scopes)
    return Tier(name, policies[form.key], _named(form.account, policies), scopes)


def _account(name: str, form: AccountForm, policies: Mapping[str, Policy], tiers: Mapping[str, Tier]) -> FileAccount:
    return FileAccount(name, _named(form.tier, tiers), form.state, _named(form.policy, policies))


def _cors(form: CorsForm | None, failure: Failure, policies: Mapping[str, Policy]) -> Cors | None:
    if form is None:
        return None
    return Cors(
        form.origins,
        _named(form.guard, policies) or default_preflight_guard(failure),
        methods=form.methods,
        headers=form.headers,
        expose=form.expose,
        credentials=form.credentials,
        max_age=round(form.max_age),
    )


def _caller_headers(form: CallerHeadersForm | None) -> CallerHeaders | None:
    return None if form is None else CallerHeaders(form.include, form.secret)


def _scopes(form: FileForm) -> frozenset[str]:
    of_routes = {each.scope for each in form.routes if each.scope is not None}
    return frozenset(of_routes.union(*(each.scopes or () for each in form.tiers.values()), *(each.scopes for each in form.keys)))


def _key(form: KeyForm, policies: Mapping[str, Policy], tiers: Mapping[str, Tier], accounts: Mapping[str, FileAccount]) -> FileKey:
    account = form.account or form.name
    tier = _named(form.tier, tiers) or accounts[account].tier
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
        policy=_named(form.policy, policies),
        state=form.state,
        peppered=peppered,
    )


def _routes(form: FileForm, policies: Mapping[str, Policy]) -> Routes:
    routes = Routes(form.paths)
    for each in form.routes:
        route = Route(each.cost, _named(each.policy, policies), each.exempt, each.scope, each.path.written)
        routes.add(each.path.segments, each.methods, route)
    return routes
