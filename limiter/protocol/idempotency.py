"""Groups that are charged once, however often they are sent: a caller that had no answer sends the same group with the same key again.

Redis keeps what the group charged for 10 minutes, under a digest of the key, in the slot of the account. The stored digest of the group
distinguishes a repetition from another group, which is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

from limiter.errors import InvalidPolicy, shown
from limiter.limits.wire import tag
from limiter.protocol.group import Group, Once

# Doubles hold integers of this many bits exactly.
_BITS = 53
_LONGEST = 255

_KEY = re.compile(rf"[\x21\x23-\x5b\x5d-\x7e]{{1,{_LONGEST}}}").fullmatch


def once(group: Group, key: object, caller: str = "") -> Group:
    """The group, charged once for this key of this caller. The key belongs to one operation and one account. Raises InvalidPolicy."""
    if not isinstance(key, str) or not _KEY(key):
        given = f"{len(key):,} characters" if isinstance(key, str) and len(key) > _LONGEST else shown(key)
        raise InvalidPolicy(
            f"idempotency key must be a str of 1 to {_LONGEST} visible ASCII characters without quotes and backslashes, such as a UUID, "
            f"not {given}"
        )
    account = group.keys[0].partition(b"}")[0]
    # No other key has this form: the key of a state has a colon behind the subject.
    name = b"%b}:once-%b" % (account, _digest([caller, group.operation.name, key], 16).hex().encode())
    charges = [(each.policy.name, [tag(limit) for limit in each.policy.limits], each.subject, each.cost) for each in group.charges]
    digest = int.from_bytes(_digest([charges, group.charged_at], 8)) >> (64 - _BITS)
    return replace(group, guard=Once(name, digest))


def _digest(content: Sequence[object], size: int) -> bytes:
    return blake2b(repr(content).encode(), digest_size=size).digest()
