"""The fields `cors` and `caller_headers`."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, model_validator

from limiter.api.callers.bearer_token import check_strength, given_token
from limiter.api.command_errors import Misused
from limiter.api.config.fields import (
    Flag,
    Form,
    InvalidValue,
    ListOf,
    Method,
    Text,
    distinct,
    from_text,
    length,
    must_be,
    not_empty,
    possible,
)
from limiter.api.outgoing.cors import ANY
from limiter.api.settings.secret_values import CALLER_SECRET
from limiter.limits.durations import microseconds

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?").fullmatch
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}").fullmatch
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_AGES_US = 1_000_000, 86_400_000_000


def _origin(written: str) -> str:
    if written == ANY:
        return written
    if written == "null":
        raise InvalidValue("must not be null, the origin of every sandboxed page and local file: name the origins that may call")
    if not _ORIGIN(written):
        raise must_be("an origin such as https://app.example.com, in lower case and without a path, or '*'", written)
    scheme, _, rest = written.partition("://")
    port = rest.rpartition(":")[2] if not rest.endswith("]") and ":" in rest else ""
    if port and port == _DEFAULT_PORTS.get(scheme):
        raise InvalidValue(f"must not contain the default port, which browsers omit: write {written.removesuffix(f':{port}')}")
    return written


def _header_name(written: str) -> str:
    if not _TOKEN(written):
        raise must_be("the name of a header such as X-Request-Id", written)
    if written == ANY:
        raise InvalidValue("must be the name of a header, not '*', which does not cover Authorization: name each header")
    return written


def _age(value: object) -> float:
    us = possible(lambda: microseconds(length(value), "max_age"))
    if not _AGES_US[0] <= us <= _AGES_US[1]:
        raise must_be("a duration from 1s to 1 day", value)
    return us / 1_000_000


Origin = Annotated[str, from_text(_origin)]
HeaderName = Annotated[str, from_text(_header_name)]


class CorsFields(Form):
    """All but the policy, whose name is checked against the file."""

    origins: Annotated[ListOf[Origin], AfterValidator(not_empty), AfterValidator(distinct)]
    methods: Annotated[ListOf[Method], AfterValidator(not_empty), AfterValidator(distinct)] = (
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
    )
    headers: Annotated[ListOf[HeaderName], AfterValidator(distinct)] = ("Authorization", "Content-Type", "X-API-Key")
    expose: Annotated[ListOf[HeaderName], AfterValidator(distinct)] = ()
    credentials: Flag = False
    max_age: Annotated[float, BeforeValidator(_age)] = 600.0

    @model_validator(mode="after")
    def _names_those_it_trusts(self) -> Self:
        if ANY in self.origins and len(self.origins) > 1:
            raise InvalidValue("origins must be either ['*'] or a list of origins, not both: remove '*'")
        if ANY in self.origins and self.credentials:
            raise InvalidValue("credentials must be false with origins ['*'], as any page could act for its visitors: name the origins")
        return self


class CallerHeadersForm(Form):
    include: Annotated[ListOf[Literal["account", "key", "tier"]], AfterValidator(not_empty), AfterValidator(distinct)]
    sign: Flag = False
    secret_file: Text | None = None

    @model_validator(mode="after")
    def _has_a_secret_to_sign_with(self) -> Self:
        if self.secret_file is not None and not self.sign:
            raise InvalidValue("secret_file must come with `sign: true`, or be removed")
        if self.sign:
            _ = self.secret
        return self

    @property
    def secret(self) -> bytes | None:
        """Read with the file. None if nothing is signed."""
        if not self.sign:
            return None
        try:
            secret = given_token("secret_file", Path(self.secret_file) if self.secret_file else None, CALLER_SECRET)
            if secret is None:
                raise InvalidValue(f"sign needs a secret: set secret_file, or {CALLER_SECRET} in the environment")
            check_strength(secret, "secret_file" if self.secret_file else f"sign: {CALLER_SECRET}")
        except Misused as error:
            raise InvalidValue(str(error)) from None
        return secret.encode()
