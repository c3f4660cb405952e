"""Identity: which key and account a request comes from, what limits apply to them, or why the request is refused.

Read in this order: `credentials` (the key in the headers), `identity` (what a key is, and the judge), `translation` (how keys become
identities), `directory` (the keys of the configuration file and of the registry), and `registered_keys` (memory and lookups).
"""

from limiter.api.identity.credentials import CREDENTIAL_HEADERS, credential_in
from limiter.api.identity.directory import Directory
from limiter.api.identity.identity import EXPIRED, MALFORMED, MISSING, UNKNOWN, Identity, Refusal
from limiter.api.identity.registered_keys import RegisteredKeys

__all__ = [
    "CREDENTIAL_HEADERS",
    "EXPIRED",
    "MALFORMED",
    "MISSING",
    "UNKNOWN",
    "Directory",
    "Identity",
    "Refusal",
    "RegisteredKeys",
    "credential_in",
]
