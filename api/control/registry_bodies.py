"""What the admin listener is sent about accounts and keys. A field that is left out stays; unknown ones are refused."""

from __future__ import annotations

from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from limiter.api.registry.changes import AccountChange, KeyChange


class _Body(BaseModel):
    # Whatever is wrong with a body, it is not repeated.
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    def _given(self, *apart: str) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set if name not in apart}


class AccountPatch(_Body):
    tier: str = ""
    policy: str | None = Field(None, description="A policy of the configuration, in place of the tier's; null takes it away")
    limits: list[str] = Field([], description="Limits of its own, in place of the tier's", examples=[["100/minute"]])

    def change(self) -> AccountChange:
        return cast("AccountChange", self._given("id"))


class NewAccount(AccountPatch):
    id: str = Field(examples=["acme"])
    tier: str = Field(examples=["standard"])


class KeyPatch(_Body):
    name: str = ""
    scopes: list[str] = Field([], examples=[["asset:read"]])
    addresses: list[str] = Field([], examples=[["203.0.113.0/24"]])
    policy: str | None = None
    limits: list[str] = Field([], examples=[["100/minute"]])
    lifetime: float | None = Field(None, description="Seconds from now; null for no end")

    def change(self) -> KeyChange:
        return cast("KeyChange", self._given("environment", "key", "sha256"))


class NewKey(KeyPatch):
    environment: str = Field("live", description="`live`, or `test`: these end after 7 days unless `lifetime` is given")


class Import(NewKey):
    key: SecretStr | None = Field(None, description="Up to 512 bytes; it is not kept")
    sha256: str | None = Field(None, description="Or its SHA-256, 64 hexadecimal digits")


class Rotation(_Body):
    overlap: float = Field(0.0, description="For how many seconds the old key stays valid, such as 259200 for 72 hours")


class Presented(_Body):
    key: SecretStr
