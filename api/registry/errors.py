"""What can go wrong with accounts and keys. No raw key is ever part of a message.

LimiterError
└── RegistryError
    ├── InvalidRecord (also ValueError)   a value that cannot be; raised before anything is written
    ├── UnknownAccount, UnknownKey        there is no such record
    └── Conflict                          what is asked does not go with what stands; nothing was changed
"""

from limiter.errors import LimiterError


class RegistryError(LimiterError):
    """The base of what the registry refuses to do."""


class InvalidRecord(RegistryError, ValueError):
    """The value is named, and so is the remedy."""


class UnknownAccount(RegistryError):
    """No account of that name."""

    def __init__(self, account: str) -> None:
        super().__init__(f"there is no account {account!r}: create it first, or list the accounts")


class UnknownKey(RegistryError):
    """No key of that id, or none with that digest."""

    def __init__(self, key: str = "", account: str = "") -> None:
        what = f"account {account!r} has no key {key!r}: list its keys" if key else "no account has this key"
        super().__init__(what)


class Conflict(RegistryError):
    """Said with what stands in the way."""
