"""nginx: `limit_req_zone` and `limit_req`.

A zone is a leaky bucket: `rate=10r/s` with `burst=20 nodelay` admits 21 at once, then 10 a second. That is a token bucket with a capacity
of 21. A location becomes a route. The limits of a server, or of `http`, apply to the other requests.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from limiter.api.importing.draft import CannotImport, Draft, Limit

_RATE = re.compile(r"(\d+)r/([sm])")
_BURST = re.compile("[0-9]{1,9}").fullmatch
_UNITS = {"s": "second", "m": "minute"}
_ADDRESS, _KEY = "address", "key"
_COUNTED_BY = {
    "$binary_remote_addr": _ADDRESS,
    "$remote_addr": _ADDRESS,
    "$http_authorization": _KEY,
    "$http_x_api_key": _KEY,
}
_NOT_SUPPORTED = {
    "limit_conn": "limits of concurrent connections are not supported",
    "limit_rate": "limits of bandwidth are not supported",
}

# A directive as the parser returns it: its name, arguments, line and block.
Directive = dict[str, Any]


def draft_of(file: Path) -> Draft:
    draft = Draft(f"nginx ({file.name})")
    _Reader(draft).read(_parsed(file))
    return draft


def _parsed(file: Path) -> list[Directive]:
    try:
        import crossplane  # type: ignore[import-untyped]  # noqa: PLC0415 - needed for this alone
    except ImportError:
        raise CannotImport("the parser of nginx configurations is missing: pip install 'limitgate[import]'") from None
        # Raises OSError if the file cannot be read: the parser reports that like a syntax error.
    file.open("rb").close()
    payload = crossplane.parse(str(file), combine=True, check_ctx=False)
    if payload["errors"]:
        first = payload["errors"][0]
        place = f"{first['file']}:{first['line']}" if first["line"] else first["file"]
        raise CannotImport(f"{place}: {first['error'] or 'is not a configuration of nginx'}")
    parsed: list[Directive] = payload["config"][0]["parsed"]
    return parsed


def _named(arguments: Iterable[str]) -> dict[str, str]:
    pairs = (argument.partition("=") for argument in arguments)
    return {name: value for name, _, value in pairs}


@dataclass(frozen=True, slots=True)
class Zone:
    counted_by: str
    rate: int
    unit: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What the blocks inside a block inherit: its limits, and two settings."""

    requests: tuple[tuple[str, ...], ...] = ()
    line: int = 0
    status: str = "503"
    dry_run: bool = False

    def inside(self, block: list[Directive]) -> Self:
        """A block with `limit_req` replaces the limits around it; the settings apply one by one."""
        own = [each for each in block if each["directive"] == "limit_req"]
        settings = {each["directive"]: each["args"][0] for each in block if each["args"]}
        return type(self)(
            tuple(tuple(each["args"]) for each in own) if own else self.requests,
            own[0]["line"] if own else self.line,
            settings.get("limit_req_status", self.status),
            settings.get("limit_req_dry_run", "on" if self.dry_run else "off") == "on",
        )


class _Reader:
    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._zones: dict[str, Zone] = {}
        # The scope of each location, by its pattern.
        self._locations: dict[str, Scope] = {}
        self._servers: list[Scope] = []

    def read(self, directives: list[Directive]) -> None:
        self._read_block(directives, Scope().inside(directives))
        limited = [scope for scope in self._servers if scope.requests]
        if len(self._servers) > 1 and (limited or self._locations):
            self._draft.note(
                "server", "routes do not depend on the host: check that the locations of all servers may be together in one file"
            )
        default = limited[0] if limited else Scope()
        self._draft.anonymous = self._policy(default)
        # nginx prefers the exact and then the longest location; the first route that matches applies.
        for path in sorted(self._locations, key=lambda path: (path.endswith("**"), -len(path))):
            if self._locations[path].requests != self._around(path, default).requests:
                policy = self._policy(self._locations[path])
                self._draft.routes.append({"path": path, "policy": policy} if policy else {"path": path, "exempt": True})
        self._complete(default)

    def _around(self, path: str, default: Scope) -> Scope:
        """What applies to a location that has no route: the longest location around it, or the default."""
        outer = [each for each in self._locations if each.endswith("**") and each != path and f"{path}/".startswith(each[:-2])]
        return self._locations[max(outer, key=len)] if outer else default

    def _read_block(self, block: list[Directive], scope: Scope) -> None:
        for each in block:
            name = each["directive"]
            if name in _NOT_SUPPORTED:
                self._note(each["line"], _NOT_SUPPORTED[name])
            elif name == "limit_req_zone":
                self._read_zone(each)
        for each in block:
            if "block" not in each:
                continue
            inside = scope.inside(each["block"])
            if each["directive"] == "server":
                self._servers.append(inside)
            elif each["directive"] == "location":
                self._read_location(each, inside)
            self._read_block(each["block"], inside)

    def _read_zone(self, directive: Directive) -> None:
        key, options = directive["args"][0], _named(directive["args"][1:])
        name, rate = options.get("zone", "").partition(":")[0], _RATE.fullmatch(options.get("rate", ""))
        if key not in _COUNTED_BY:
            self._note(
                directive["line"], f"zone {name} counts by {key}. The sidecar counts by key or address: use /v1/take for other subjects"
            )
        elif rate:
            self._zones[name] = Zone(_COUNTED_BY[key], int(rate[1]), _UNITS[rate[2]])

    def _read_location(self, directive: Directive, scope: Scope) -> None:
        *modifier, path = directive["args"]
        if path.startswith("@"):
            return
        if modifier and modifier[0].startswith("~"):
            if scope.requests:
                self._note(directive["line"], f"location {' '.join(directive['args'])} is a regular expression: add a route for its paths")
            return
        self._locations[path if modifier == ["="] else f"{path.rstrip('/')}/**"] = scope

    def _policy(self, scope: Scope) -> str:
        """The name of the policy for the limits of a scope; "" if it has none."""
        found = [(options, self._zones.get(options.get("zone", ""))) for options in map(_named, scope.requests)]
        limits = [self._limit(options, zone, scope, several=len(found) > 1) for options, zone in found if zone]
        if not limits:
            return ""
        name = "-".join(options["zone"] for options, zone in found if zone)
        policy = self._draft.policy(name, limits)
        if policy != name:
            self._note(scope.line, f"zone {name} has other settings elsewhere: ours counts {policy} by itself")
        counted_by = {zone.counted_by for _, zone in found if zone}
        if len(counted_by) > 1:
            self._note(scope.line, "counts by address and by key: ours counts all limits of a policy by key, or without a key by address")
        if _KEY in counted_by:
            self._draft.keyed = self._draft.keyed or policy
        return policy

    def _limit(self, options: dict[str, str], zone: Zone, scope: Scope, *, several: bool) -> Limit:
        written = options.get("burst", "0")
        if not _BURST(written):
            raise CannotImport(f"line {scope.line}: burst must be a whole number, not {written!r:.80}")
        burst = int(written)
        if burst and "nodelay" not in options:
            self._note(scope.line, "nginx delays the requests of a burst, ours admits them at once. The rate is the same")
        if scope.status != "429":
            self._note(scope.line, f"denied requests get 429 with Retry-After instead of {scope.status}")
        if several:
            bucket = {"capacity": burst + 1, "refill": zone.rate, "per": zone.unit, "name": options["zone"], "shadow": scope.dry_run}
            return {"token_bucket": bucket}
        return f"{'shadow ' * scope.dry_run}burst {burst + 1}, {zone.rate}/{zone.unit}"

    def _complete(self, default: Scope) -> None:
        """Requests that nginx did not limit pass."""
        if not self._draft.policies:
            return
        if not default.requests:
            self._draft.routes = [route for route in self._draft.routes if route != {"path": "/**", "exempt": True}]
            if not any(route["path"] == "/**" for route in self._draft.routes):
                self._draft.routes.append({"path": "/**", "exempt": True})
            self._draft.anonymous = next(iter(self._draft.policies))
        if self._draft.keyed:
            line = default.line or 1
            self._note(line, "keys must be known to the sidecar: issue them with `limiter keys issue`, or list their digests")
            self._note(line, "nginx does not limit requests without a key; here they count by address")

    def _note(self, line: int, text: str) -> None:
        self._draft.note(f"line {line}", text)
