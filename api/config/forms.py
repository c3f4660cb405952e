"""The fields of the file, with their types and defaults. Names of policies and tiers are checked against the `CheckContext`."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from limiter.api.config.fields import (
    REQUIRED,
    AccountName,
    ConnectionCount,
    Deadline,
    DenyStatus,
    Digest,
    Flag,
    Form,
    InvalidValue,
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
    Size,
    Text,
    TierKey,
    Timeout,
    Units,
    Wait,
    context_of,
    distinct,
    not_empty,
    one_or_many,
    url_alone,
)
from limiter.api.config.limit_forms import PolicyForm
from limiter.api.config.mistakes import shown, suggestion
from limiter.api.config.outgoing_forms import CallerHeadersForm, CorsFields
from limiter.api.registry.key_format import Environment
from limiter.api.routes.paths import PathMode
from limiter.api.rules import V1, ConnectionBounds, Shutdown, UpstreamTimeouts
from limiter.policy import Failure


def _defined(name: str, names: frozenset[str], what: str) -> str:
    if name not in names:
        raise InvalidValue(f"unknown {what} {shown(name)}: {suggestion(name, sorted(names))}")
    return name


def _policy_name(name: str, info: ValidationInfo) -> str:
    return _defined(name, context_of(info).policies, "policy")


def _tier_name(name: str, info: ValidationInfo) -> str:
    return _defined(name, context_of(info).tiers, "tier")


PolicyName = Annotated[Text, AfterValidator(_policy_name)]
TierName = Annotated[Text, AfterValidator(_tier_name)]


class TierForm(Form):
    key: PolicyName
    account: PolicyName | None = None
    scopes: ListOf[Scope] | None = None


class IdentifyForm(Form):
    order: Annotated[ListOf[Literal["bearer", "x-api-key"]], AfterValidator(distinct)] = ("bearer", "x-api-key")
    anonymous: PolicyName | None = None
    guard: PolicyName | None = None
    gateway: Literal["nginx", "forwarded", "envoy", "none"] | None = None
    trusted_proxies: ListOf[NetworkField] = ()


class AccountForm(Form):
    tier: TierName | None = None
    state: Literal["active", "suspended"] = "active"
    policy: PolicyName | None = None


class KeyForm(Form):
    name: KeyName
    digest: Digest
    account: AccountName | None = None
    tier: TierName | None = Field(default=None, validate_default=True)
    scopes: ListOf[Scope] = ()
    addresses: ListOf[NetworkField] = ()
    expires: Moment | None = None
    state: Literal["active", "revoked"] = "active"
    policy: PolicyName | None = None

    @field_validator("name")
    @classmethod
    def _has_a_name_of_its_own(cls, name: str, info: ValidationInfo) -> str:
        if not context_of(info).is_new("name", name):
            raise InvalidValue(f"must be unique: {shown(name)} is the name of a key above")
        return name

    @field_validator("digest")
    @classmethod
    def _has_a_digest_of_its_own(cls, digest: tuple[str, bool], info: ValidationInfo) -> tuple[str, bool]:
        if not context_of(info).is_new("digest", digest[0]):
            raise InvalidValue("must be unique: a key above has the same digest")
        return digest

    @field_validator("tier", mode="after")
    @classmethod
    def _has_a_tier(cls, tier: str | None, info: ValidationInfo) -> str | None:
        if not {"name", "account"} <= info.data.keys():
            return tier
        account = info.data["account"] or info.data["name"]
        if tier is None and account not in context_of(info).tiered_accounts:
            raise InvalidValue(f"{REQUIRED}: set a tier here, or for {shown(account)} under accounts")
        return tier


class RouteForm(Form):
    path: PathPattern
    method: Annotated[tuple[Method, ...], BeforeValidator(one_or_many), AfterValidator(not_empty)] | None = None
    cost: Units = 1
    policy: PolicyName | None = None
    scope: Scope | None = None
    exempt: Flag = False

    @property
    def methods(self) -> frozenset[str] | None:
        """GET includes HEAD."""
        if self.method is None:
            return None
        return frozenset(self.method) | ({"HEAD"} if "GET" in self.method else frozenset())

    @model_validator(mode="after")
    def _is_exempt_from_everything(self) -> Self:
        also = sorted(self.model_fields_set & {"cost", "policy", "scope"})
        if self.exempt and also:
            raise InvalidValue(f"exempt must not be combined with {' or '.join(also)}: use `cost: 0` to require a key and charge nothing")
        return self


class RedisForm(Form):
    url: RedisUrl | None = None
    prefix: Prefix = "lim"
    deadline: Deadline = 0.05


class HeadersForm(Form):
    reset: Literal["delta", "epoch"] = "delta"
    retry_after_ms: Flag = False
    should_retry: Flag = False


class CredentialsForm(Form):
    prefix: KeyPrefix = "ff"
    environments: Annotated[ListOf[Environment], AfterValidator(not_empty)] = ("live", "test")


class TransportForm(Form):
    require_tls: Flag = False


_DEFAULT, _UPSTREAM, _SHUTDOWN = ConnectionBounds(), UpstreamTimeouts(), Shutdown()


class ConnectionsForm(Form):
    most: ConnectionCount = _DEFAULT.most
    per_peer: ConnectionCount = _DEFAULT.per_peer
    head: Timeout = _DEFAULT.head
    body: Timeout = _DEFAULT.body
    answer: Timeout = _DEFAULT.answer
    idle: Timeout = _DEFAULT.idle
    held: Size = _DEFAULT.held


class UpstreamForm(Form):
    connect: Timeout = _UPSTREAM.connect
    head: Timeout = _UPSTREAM.head
    body: Timeout = _UPSTREAM.body


class ShutdownForm(Form):
    delay: Wait = _SHUTDOWN.delay
    drain: Wait = _SHUTDOWN.drain


class CorsForm(CorsFields):
    guard: PolicyName | None = None


class FileForm(Form):
    policies: MapOf[PolicyKey, PolicyForm]
    tiers: MapOf[TierKey, TierForm] = Field(default_factory=dict)
    identify: IdentifyForm = IdentifyForm.model_construct()
    routes: ListOf[RouteForm] = ()
    redis: Annotated[RedisForm, BeforeValidator(url_alone)] = RedisForm.model_construct()
    failure: Failure = "open"
    keys: ListOf[KeyForm] = ()
    accounts: MapOf[AccountName, AccountForm] = Field(default_factory=dict)
    headers: HeadersForm = HeadersForm.model_construct()
    deny_status: DenyStatus = 429
    credentials: CredentialsForm = CredentialsForm.model_construct()
    transport: TransportForm = TransportForm.model_construct()
    paths: PathMode = "strict"
    v1: V1 = "loopback"
    connections: ConnectionsForm = ConnectionsForm.model_construct()
    upstream: UpstreamForm = UpstreamForm.model_construct()
    shutdown: ShutdownForm = ShutdownForm.model_construct()
    cors: CorsForm | None = None
    caller_headers: CallerHeadersForm | None = None
