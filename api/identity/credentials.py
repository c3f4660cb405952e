"""The credential of a request, from its headers."""

import re
from collections.abc import Mapping

from limiter.api.identity.identity import MALFORMED, MISSING, Refusal

CREDENTIAL_HEADERS = frozenset({b"authorization", b"x-api-key"})

# Anything longer, or with blanks or control characters, is refused at once.
_CREDENTIAL = re.compile(rb"[\x21-\x7e]{1,512}").fullmatch
_BEARER = b"bearer "


def credential_in(headers: Mapping[bytes, bytes], order: tuple[str, ...]) -> str | Refusal:
    """The first credential in the configured order, whether it is valid or not."""
    for place in order:
        credential = _bearer(headers) if place == "bearer" else headers.get(b"x-api-key")
        if credential is not None:
            return credential.decode("ascii") if _CREDENTIAL(credential) else MALFORMED
    return MISSING


def _bearer(headers: Mapping[bytes, bytes]) -> bytes | None:
    """None for other schemes, which the API itself may use."""
    header = headers.get(b"authorization")
    if header is None or header[:7].lower() != _BEARER:
        return None
    return header[7:].strip()
