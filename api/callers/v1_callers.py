"""Who may call the decision API: `v1` in the configuration decides.

    loopback   programs on this machine that call directly: no proxy in between, and Host is a loopback name
    trusted    these, and the trusted proxies, for themselves or for each other
    token      callers that send the token, from any address
    off        no callers

A caller can spend and refund the limits of every subject. An address proves little: a proxy on this machine has the address of this
machine, and so has a browser that a web site abuses. So by address, everything is refused that looks like a client behind them.
"""

from starlette.types import Scope

from limiter.addresses import hop_address, is_loopback
from limiter.api.answers import Answer, problem
from limiter.api.callers.bearer_token import BearerToken
from limiter.api.callers.host_header import AllowedHosts, hosts_of, is_loopback_host, misdirected
from limiter.api.forwarded import peer_of
from limiter.api.rules import Rules

_HOPS = frozenset({b"x-forwarded-for", b"x-real-ip"})
_SIGNS_OF_A_PROXY = frozenset({b"forwarded", b"via", b"x-real-ip"})

_OFF = problem(404, "The decision API is off: set v1 in the configuration to loopback, trusted or token.")
_NO_TOKEN = problem(
    401,
    "The decision API requires its token, as `Authorization: Bearer`.",
    headers=((b"www-authenticate", b'Bearer realm="limiter decisions"'),),
    reason="no-token",
)
_NOT_ALLOWED = problem(
    403,
    "The decision API answers only programs on this machine that call it directly (v1: loopback): "
    "set v1 in the configuration to token or trusted.",
    reason="address-not-allowed",
)
_NOT_TRUSTED = problem(
    403,
    "The decision API answers only this machine and trusted proxies (v1: trusted): "
    "list every hop in identify.trusted_proxies, or set v1 in the configuration to token.",
    reason="address-not-allowed",
)
_FROM_A_PAGE = problem(403, "The decision API refuses requests from web pages, which have the header Origin.", reason="cross-site")


class V1Callers:
    """`token` is the one that this process was started with."""

    def __init__(self, token: str | None = None, hosts: AllowedHosts | None = None) -> None:
        self._token = BearerToken(token) if token else None
        self._hosts = hosts or AllowedHosts()

    def refusal(self, scope: Scope, rules: Rules) -> Answer | None:
        """Why the request is refused. None if its caller may call."""
        if rules.v1 == "off":
            return _OFF
        if rules.v1 == "token":
            return None if self._token is not None and self._token.is_in(scope) else _NO_TOKEN
        if any(name == b"origin" for name, _ in scope["headers"]):
            return _FROM_A_PAGE
        return self._refusal_by_address(scope, rules)

    def _refusal_by_address(self, scope: Scope, rules: Rules) -> Answer | None:
        if rules.v1 == "trusted":
            if not _comes_through(scope, rules):
                return _NOT_TRUSTED
            accept, accepted, remedy = self._hosts.accept, "localhost, an IP address or an allowed name", "start with --allowed-host"
        else:
            if not _is_direct(scope):
                return _NOT_ALLOWED
            accept, accepted, remedy = is_loopback_host, "localhost or a loopback address", "set v1 in the configuration to token"
        hosts = hosts_of(scope) or [""]
        wrong = next((host for host in hosts if not accept(host)), None)
        return None if wrong is None else misdirected(wrong, accepted, f"to call by another name, {remedy}")


def caller_of(scope: Scope, rules: Rules) -> str:
    """Separates the idempotency keys of callers: those with the token, those on this machine, and each other address."""
    peer = peer_of(scope)
    return "token" if rules.v1 == "token" else "loopback" if is_loopback(peer) else peer


def _is_direct(scope: Scope) -> bool:
    """Whether the caller is on this machine, and no header shows a proxy in between."""
    headers = (name for name, _ in scope["headers"])
    return is_loopback(peer_of(scope)) and not any(name in _SIGNS_OF_A_PROXY or name.startswith(b"x-forwarded-") for name in headers)


def _comes_through(scope: Scope, rules: Rules) -> bool:
    """Whether the peer and every hop is this machine or a trusted proxy, in all lines: a proxy may add a line of its own."""
    hops: list[str | None] = [peer_of(scope)]
    for name, value in scope["headers"]:
        if name == b"forwarded":
            return False
        if name in _HOPS:
            hops += map(hop_address, value.decode("latin-1").split(","))
    return all(hop is not None and (rules.trusts(hop) or is_loopback(hop)) for hop in hops)
