"""The names in the Host header that a private listener answers to.

A web site can let a name of its own lead to a private address (DNS rebinding). A browser then takes that listener for a part of the site,
and the site's scripts read its answers. Host still has the name of the site, so a listener that knows its names can refuse the request.
An IP address is safe: no site can make one lead elsewhere.
"""

import re
from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from limiter.addresses import is_loopback, parse_address
from limiter.api.answers import Answer, problem
from limiter.api.command_errors import Misused
from limiter.errors import shown

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s\[\]:/@]+))(?::[0-9]*)?").fullmatch
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,252}[a-z0-9_])?").fullmatch


def hosts_of(scope: Scope) -> list[str]:
    """Every value of Host. More than one is malformed, but must not hide one from the check."""
    return [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]


def is_loopback_host(host: str) -> bool:
    """`localhost`, `x.localhost`, `127.0.0.1` or `[::1]`, with or without a port."""
    name = _name_in(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    return is_loopback(name)


class AllowedHosts:
    """`AllowedHosts(["limiter.internal"])` accepts that name, loopback names and IP addresses."""

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = frozenset(map(_checked, names))

    def accept(self, host: str) -> bool:
        name = _name_in(host)
        return name in self._names or is_loopback_host(host) or parse_address(name) is not None


def misdirected(host: str, accepted: str, remedy: str) -> Answer:
    return problem(421, f"Host must be {accepted}, not {shown(host)}: {remedy}.", reason="unknown-host")


class HostChecked:
    """Refuses requests to the admin listener by other names. One without Host is not from a browser."""

    def __init__(self, app: ASGIApp, allowed: AllowedHosts) -> None:
        self._app, self._allowed = app, allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for host in hosts_of(scope):
                if not self._allowed.accept(host):
                    answer = misdirected(host, "localhost, an IP address or an allowed name", "to allow a name, start with --allowed-host")
                    await answer.send(scope, send)
                    return
        await self._app(scope, receive, send)


def _name_in(host: str) -> str:
    """In lower case and without the port; empty if the value is malformed."""
    match = _HOST(host.strip().lower())
    return (match[1] or match[2]).removesuffix(".") if match else ""


def _checked(name: str) -> str:
    if not _NAME(name.lower()):
        raise Misused(f"--allowed-host must be a host name such as limiter.internal, without scheme and port, not {shown(name)}")
    return name.lower()
