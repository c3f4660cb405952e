"""A request of no framework, for tests of the core."""

from dataclasses import dataclass, field


@dataclass
class Request:
    """Its own facts: callables get the same object."""

    method: str = "GET"
    path: str = "/"
    peer: str = "203.0.113.7"
    forwarded_for: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def paths(self) -> tuple[str]:
        return (self.path,)

    @property
    def request(self) -> "Request":
        return self
