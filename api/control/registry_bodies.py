"""Request bodies and list responses of the registry's routes. Absent fields keep their value; unknown fields are errors."""

from typing import Annotated, cast

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from typing_extensions import TypedDict

from limiter.api.control.schema_defaults import describe_defaults
from limiter.api.registry.changes import AccountChange, KeyChange
from limiter.api.registry.views import AccountView, AuditEntryView, KeyView

Cursor = Annotated[str, Query(description="The `cursor` of the page before; empty for the first page.")]
Count = Annotated[int, Query(description="The size of a page.")]

PolicyName = Annotated[str | None, Field(description="A policy of the configuration, which replaces that of the tier; null removes it.")]
Limits = Annotated[list[str], Field(description="Limits which replace those of the tier.", examples=[["100/minute"]])]


class _Body(BaseModel):
    # An error never repeats the input, which may hold a raw key.
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, json_schema_extra=describe_defaults)


class AccountPatch(_Body):
    tier: str = ""
    policy: PolicyName = None
    limits: Limits = []

    def change(self) -> AccountChange:
        return cast("AccountChange", self.model_dump(exclude_unset=True, exclude={"id"}))


class NewAccount(AccountPatch):
    id: str = Field(examples=["acme"])
    tier: str = Field(examples=["standard"])


class KeyPatch(_Body):
    name: str = ""
    scopes: list[str] = Field([], examples=[["asset:read"]])
    addresses: list[str] = Field([], description="Networks that may use the key; empty allows all.", examples=[["203.0.113.0/24"]])
    policy: PolicyName = None
    limits: Limits = []
    lifetime: float | None = Field(None, description="Seconds from now until the key expires; null if it never expires.")

    def change(self) -> KeyChange:
        return cast("KeyChange", self.model_dump(exclude_unset=True, exclude={"environment", "key", "sha256"}))


class NewKey(KeyPatch):
    environment: str = Field("live", description="`live` or `test`. A test key expires after 7 days, unless `lifetime` says otherwise.")


class ImportedKey(NewKey):
    key: SecretStr | None = Field(None, description="The raw key, of 16 characters to 512 bytes. It is not stored.")
    sha256: str | None = Field(None, description="The SHA-256 of a raw key with 16 or more characters, as 64 hexadecimal digits.")


class Rotation(_Body):
    overlap: float = Field(0.0, description="Seconds for which the old key stays valid, such as 259200 for 72 hours.")


class PresentedKey(_Body):
    key: SecretStr


class _Page(TypedDict):
    cursor: Annotated[str, Field(description="The cursor of the next page; empty on the last.")]


class AccountPage(_Page):
    accounts: list[AccountView]


class KeyPage(_Page):
    keys: list[KeyView]


class AuditPage(_Page):
    entries: list[AuditEntryView]


class DeletedAccount(TypedDict):
    deleted: str
