"""The errors of the registry. No message contains a raw key.

LimiterError
└── RegistryError
    ├── InvalidRecord (also ValueError)   a value that a record cannot have; raised before anything is written
    ├── UnknownAccount, UnknownKey        the record does not exist
    └── Conflict                          the change does not fit the records as they stand; nothing was changed
"""

from limiter.errors import LimiterError


class RegistryError(LimiterError):
    """The base of the registry's errors."""


class InvalidRecord(RegistryError, ValueError):
    """The message names the value and what is accepted."""


class UnknownAccount(RegistryError):
    def __init__(self, account: str) -> None:
        super().__init__(f"account {account!r} does not exist: create it first, or list the accounts")


class UnknownKey(RegistryError):
    """No key has this id or, without an id, this digest."""

    def __init__(self, key: str = "", account: str = "") -> None:
        super().__init__(f"account {account!r} has no key {key!r}: list its keys" if key else "no account has this key")


class Conflict(RegistryError):
    """The message names what conflicts."""
