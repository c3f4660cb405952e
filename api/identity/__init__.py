"""Identity: who sends a request, from its credential to the key and account behind it."""

from limiter.api.identity.identify import (
    CREDENTIAL_HEADERS,
    MISSING,
    Directory,
    Identity,
    Refusal,
    credential_in,
)

__all__ = ["CREDENTIAL_HEADERS", "MISSING", "Directory", "Identity", "Refusal", "credential_in"]
