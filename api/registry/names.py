"""What the registry's keys in Redis are called. All of an account stand in one slot of a cluster; what leads to accounts does not.

`lim:{acme}:gen`       the generation: the time of the last change to the account or its keys; a take is guarded by it
`lim:{acme}:records`   hash: the account's record under `account`, each key's under its id
`lim:{acme}:ids`       sorted set of the keys' ids, for lists in the order of creation
`lim:{acme}:used`      hash: when each key was last used
`lim:key:<digest>`     `acme <id>`: whose key this is
`lim:accounts`         sorted set of all accounts
`lim:audit`            stream of what was changed; `lim:refused`: of who was refused
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    prefix: str = "lim"

    def generation(self, account: str) -> str:
        return f"{self.prefix}:{{{account}}}:gen"

    def records(self, account: str) -> str:
        return f"{self.prefix}:{{{account}}}:records"

    def ids(self, account: str) -> str:
        return f"{self.prefix}:{{{account}}}:ids"

    def used(self, account: str) -> str:
        return f"{self.prefix}:{{{account}}}:used"

    def pointer(self, digest: str) -> str:
        return f"{self.prefix}:key:{digest}"

    @property
    def accounts(self) -> str:
        return f"{self.prefix}:accounts"

    @property
    def audit(self) -> str:
        return f"{self.prefix}:audit"

    @property
    def refused(self) -> str:
        return f"{self.prefix}:refused"
