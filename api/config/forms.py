"""The shape of the file: which fields there are, what each holds, and what it is when left out.

Names of policies and tiers are checked as they are met, against those that the file defines (`CheckContext`), so that a name that is
wrong is told together with everything else.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from limiter.api.config.context import context_of
from limiter.api.config.fields import (
    MISSING,
    AccountName,
    Deadline,
    DenyStatus,
    Digest,
    FailureMode,
    Flag,
    Form,
    KeyName,
    KeyPrefix,
    ListOf,
    MapOf,
    Method,
    Moment,
    NetworkField,
    PathPattern,
    PolicyKey,
    Prefix,
    RedisUrl,
    Scope,
    Text,
    TierKey,
    Unfit,
    Units,
    choice,
    one_or_many,
    url_alone,
)
from limiter.api.config.limit_forms import PolicyForm
from limiter.api.config.mistakes import instead, shown


def _defined(name: str, names: frozenset[str], what: str) -> str:
    if name not in names:
        raise Unfit(f"{shown(name)} is no {what} of this file: {instead(name, sorted(names))}")
    return name


def _policy_name(name: str, info: ValidationInfo) -> str:
    return _defined(name, context_of(info).policies, "policy")


def _tier_name(name: str, info: ValidationInfo) -> str:
    return _defined(name, context_of(info).tiers, "tier")


PolicyName = Annotated[Text, AfterValidator(_policy_name)]
TierName = Annotated[Text, AfterValidator(_tier_name)]


def _no_doubles(order: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(order)) < len(order):
        raise Unfit("names one twice: leave one out")
    return order


def _some(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise Unfit("is empty: name at least one, or leave the field out for all")
    return values


Credential = Annotated[Literal["bearer", "x-api-key"], choice("bearer", "x-api-key")]


Environment = Annotated[Literal["live", "test"], choice("live", "test")]


class TierForm(Form):
    key: PolicyName
    account: PolicyName | None = None
    scopes: ListOf[Scope] | None = None


class IdentifyForm(Form):
    order: Annotated[ListOf[Credential], AfterValidator(_no_doubles)] = ("bearer", "x-api-key")
    anonymous: PolicyName | None = None
    guard: PolicyName | None = None
    trusted_proxies: ListOf[NetworkField] = ()


class AccountForm(Form):
    tier: TierName | None = None
    state: Annotated[Literal["active", "suspended"], choice("active", "suspended")] = "active"
    policy: PolicyName | None = None


class KeyForm(Form):
    name: KeyName
    digest: Digest
    account: AccountName | None = None
    tier: TierName | None = Field(default=None, validate_default=True)
    scopes: ListOf[Scope] = ()
    addresses: ListOf[NetworkField] = ()
    expires: Moment | None = None
    state: Annotated[Literal["active", "revoked"], choice("active", "revoked")] = "active"
    policy: PolicyName | None = None

    @field_validator("name")
    @classmethod
    def _one_of_its_name(cls, name: str, info: ValidationInfo) -> str:
        if not context_of(info).once("name", name):
            raise Unfit(f"{shown(name)} is the name of a key above: give each its own")
        return name

    @field_validator("digest")
    @classmethod
    def _one_of_its_digest(cls, digest: tuple[str, bool], info: ValidationInfo) -> tuple[str, bool]:
        if not context_of(info).once("digest", digest[0]):
            raise Unfit("is the digest of a key above: a key stands in the file once")
        return digest

    @field_validator("tier", mode="after")
    @classmethod
    def _of_some_tier(cls, tier: str | None, info: ValidationInfo) -> str | None:
        if not {"name", "account"} <= info.data.keys():
            return tier
        account = info.data["account"] or info.data["name"]
        if tier is None and account not in context_of(info).tiered_accounts:
            raise Unfit(f"{MISSING}: name a tier here, or under accounts for {shown(account)}")
        return tier


class RouteForm(Form):
    path: PathPattern
    method: Annotated[tuple[Method, ...], BeforeValidator(one_or_many), AfterValidator(_some)] | None = None
    cost: Units = 1
    policy: PolicyName | None = None
    scope: Scope | None = None
    exempt: Flag = False

    @property
    def methods(self) -> frozenset[str] | None:
        """What is said of GET holds for HEAD, which asks for the same without the body."""
        if self.method is None:
            return None
        return frozenset(self.method) | ({"HEAD"} if "GET" in self.method else frozenset())

    @model_validator(mode="after")
    def _exempt_from_all(self) -> Self:
        also = sorted(self.model_fields_set & {"cost", "policy", "scope"})
        if self.exempt and also:
            raise Unfit(f"exempt lets everybody pass uncounted: leave it out, or {' and '.join(also)}; `cost: 0` asks for a key only")
        return self


class RedisForm(Form):
    url: RedisUrl | None = None
    prefix: Prefix = "lim"
    deadline: Deadline = 0.05


class HeadersForm(Form):
    reset: Annotated[Literal["delta", "epoch"], choice("delta", "epoch")] = "delta"
    retry_after_ms: Flag = False
    should_retry: Flag = False


class CredentialsForm(Form):
    prefix: KeyPrefix = "ff"
    environments: Annotated[ListOf[Environment], AfterValidator(_some)] = ("live", "test")


class TransportForm(Form):
    require_tls: Flag = False


class FileForm(Form):
    policies: MapOf[PolicyKey, PolicyForm]
    tiers: MapOf[TierKey, TierForm] = Field(default_factory=dict)
    identify: IdentifyForm = IdentifyForm.model_construct()
    routes: ListOf[RouteForm] = ()
    redis: Annotated[RedisForm, BeforeValidator(url_alone)] = RedisForm.model_construct()
    failure: FailureMode = "open"
    keys: ListOf[KeyForm] = ()
    accounts: MapOf[AccountName, AccountForm] = Field(default_factory=dict)
    headers: HeadersForm = HeadersForm.model_construct()
    deny_status: DenyStatus = 429
    credentials: CredentialsForm = CredentialsForm.model_construct()
    transport: TransportForm = TransportForm.model_construct()
