"""The data plane: one raw ASGI callable, as it is what every request of the API goes through.

    request -> original request -> route -> identity -> plan -> verdict -> answer

With a proxy, every path is the API's own: what is admitted is passed on, with the numbers in the answer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from starlette.types import Message, Receive, Scope, Send

from limiter.aio import AsyncLimiter
from limiter.api import forwarded
from limiter.api.answers import AT_ONCE, Answer, Header
from limiter.api.forwarded import PREFIX, ConflictingAccounts, Found, Original
from limiter.api.identity import identify
from limiter.api.identity.identify import MISSING, Directory, Identity, Refusal, credential_in
from limiter.api.numbers import unavailable
from limiter.api.outages import Outages
from limiter.api.problems import problem
from limiter.api.routes.matching import Route
from limiter.api.rules import Rules
from limiter.api.view import Plan, View
from limiter.errors import BackendError
from limiter.problems import ABNORMAL_USAGE
from limiter.protocol.call import Stale, Verdict
from limiter.transport.batching import Recipient

OK, UNAUTHORIZED, FORBIDDEN, TOO_MANY = 200, 401, 403, 429
_NAMES = forwarded.NAMES | identify.NAMES
# An account that changes this often within one request is somebody's program running wild.
_TRIES = 5
# Charges nothing.
_LOOK = Route(cost=0)
_CLOSE: Header = (b"connection", b"close")

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class RulesNow(Protocol):
    """The rules in force; read once in every request."""

    @property
    def rules(self) -> Rules: ...


class Proxying(Protocol):
    async def __call__(self, scope: Scope, receive: Receive, send: Send, headers: Sequence[Header] = ()) -> None: ...


class Begun(NamedTuple):
    """A request that waits for nothing but its verdict. A tuple, as one is made for every request."""

    view: View
    request: Original
    found: Found
    plan: Plan


class Front:
    """`directory_of` gives the directory that goes with a file's rules; `decisions` answers below `/v1/`."""

    def __init__(
        self,
        watched: RulesNow,
        limiter: AsyncLimiter,
        directory_of: Callable[[Rules], Directory] = identify.StaticDirectory,
        *,
        decisions: Application | None = None,
        proxy: Proxying | None = None,
    ) -> None:
        self._watched, self._limiter, self._directory_of = watched, limiter, directory_of
        self._decisions, self._proxy = decisions, proxy
        self._view = self._seen(watched.rules)
        self._outages = Outages()
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.draining:
            scope.pop(AT_ONCE, None)
            send = _closing(send)
        if self._proxy is not None:
            await self._pass_on(self._proxy, scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close"})
        elif _is_below(scope["path"], PREFIX):
            view = self._now()
            await _for_gateway(view, await self._authorize(view, scope)).send(scope, send)
        elif self._decisions is not None and _is_below(scope["path"], "/v1"):
            await self._decisions(scope, receive, send)
        else:
            await problem(404, f"There is nothing here: ask {PREFIX}, or POST to /v1/take, /v1/peek or /v1/refund.").send(scope, send)

    def begin(self, scope: Scope) -> Begun | None:
        """The short way of nearly every request to `/authorize`: all that is done without waiting. None: go the long way, by a call."""
        if self._proxy is not None or self.draining or not _is_below(scope["path"], PREFIX):
            return None
        view, found = self._now(), _found(scope)
        try:
            request = forwarded.original(scope, found, view.trusts)
        except ConflictingAccounts:
            return None
        rules = view.rules
        route = rules.route(request.method, request.path)
        credential = credential_in(found, rules.order)
        if isinstance(credential, Refusal) or route.exempt or rules.require_tls:
            return None
        identity = view.directory.recall(credential, route.scope, request.address)
        if identity is None:
            return None
        return Begun(view, request, found, view.plan(identity, route))

    def decide(self, begun: Begun, recipient: Recipient) -> None:
        """Have its verdict delivered to `recipient`."""
        self._limiter.verdict_to(recipient, begun.plan.group, time.monotonic() + begun.view.rules.deadline)

    def end(self, begun: Begun, outcome: Verdict | BackendError) -> Answer | None:
        """Its answer. None: what was known of the key is out of date, so ask `afresh`."""
        answer = self._undecided(outcome) if isinstance(outcome, BackendError) else self._told(begun.plan, outcome)
        return _for_gateway(begun.view, answer) if answer else None

    async def afresh(self, begun: Begun) -> Answer:
        return _for_gateway(begun.view, await self._decide(begun.view, begun.request, begun.found))

    def _now(self) -> View:
        rules = self._watched.rules
        if rules is not self._view.rules:
            self._view = self._seen(rules)
        return self._view

    def _seen(self, rules: Rules) -> View:
        return View(rules, self._directory_of(rules), self._limiter.settings.prefix)

    async def _authorize(self, view: View, scope: Scope) -> Answer:
        found = _found(scope)
        try:
            request = forwarded.original(scope, found, view.trusts)
        except ConflictingAccounts:
            return problem(400, "X-Original-URI, X-Forwarded-Uri and the path tell of different requests.", reason="conflicting-accounts")
        return await self._decide(view, request, found)

    async def _pass_on(self, proxy: Proxying, scope: Scope, receive: Receive, send: Send) -> None:
        view, found = self._now(), _found(scope)
        answer = await self._decide(view, forwarded.proxied(scope, found, view.trusts), found)
        if answer.status == OK:
            await proxy(scope, receive, send, answer.headers)
        elif scope["type"] == "http":
            await answer.send(scope, send)
        else:
            await send({"type": "websocket.close"})

    async def _decide(self, view: View, request: Original, found: Found) -> Answer:
        rules = view.rules
        if rules.require_tls and request.scheme not in ("https", "wss"):
            return problem(403, "This API is to be called over TLS only.", reason="plaintext")
        route = rules.route(request.method, request.path)
        if route.exempt:
            return Answer(OK)
        credential = credential_in(found, rules.order)
        if credential is MISSING and rules.anonymous is not None and route.scope is None:
            return await self._charge(view, view.anonymous(request.address, route.policy or rules.anonymous), route) or unavailable()
        if isinstance(credential, Refusal):
            return await self._refuse(view, request, credential)
        for _ in range(_TRIES):
            answer = await self._for_key(view, request, route, credential)
            if answer is not None:
                return answer
        return unavailable()

    async def _for_key(self, view: View, request: Original, route: Route, credential: str) -> Answer | None:
        """The answer; None if what was known of the key was out of date, and is forgotten."""
        try:
            identity = await view.directory.find(credential, route.scope, request.address)
        except BackendError as error:
            return self._undecided(error)
        if isinstance(identity, Refusal):
            return await self._refuse(view, request, identity)
        answer = await self._charge(view, identity, route)
        if answer is None:
            view.directory.forget(identity)
        return answer

    async def _charge(self, view: View, identity: Identity, route: Route) -> Answer | None:
        plan = view.plan(identity, route)
        try:
            return self._told(plan, await self._limiter.verdict(plan.group, view.rules.deadline))
        except BackendError as error:
            return self._undecided(error)

    def _told(self, plan: Plan, verdict: Verdict) -> Answer | None:
        if isinstance(verdict, Stale):
            return None
        self._outages.saw(verdict.degraded)
        return plan.numbers.allowed(verdict) if verdict.allowed else plan.numbers.denied(verdict)

    def _undecided(self, error: BackendError) -> Answer:
        """By policies with a failure mode there is a decision even then; this is where not even the key could be looked up."""
        self._outages.saw(str(error))
        return unavailable()

    async def _refuse(self, view: View, request: Original, refusal: Refusal) -> Answer:
        """With the numbers of who is refused. An attempt counts against its address; from one that has too many, it is refused for that."""
        guard = view.rules.guard
        shown = None
        if refusal.holder is not None:
            shown = await self._charge(view, refusal.holder, _LOOK)
        elif guard is not None:
            shown = await self._charge(view, view.anonymous(request.address, guard), Route() if refusal.attempt else _LOOK)
        if refusal.attempt and shown is not None and shown.status != OK:
            return _guessing(shown) if shown.status == TOO_MANY else shown
        return _refused(refusal, shown.headers if shown is not None and shown.status == OK else [])


def _for_gateway(view: View, answer: Answer) -> Answer:
    return answer.forbidden() if view.rules.deny_status == FORBIDDEN else answer


def _is_below(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] == "/")


def _found(scope: Scope) -> dict[bytes, bytes]:
    """The headers that matter here, in one pass; one that is sent twice is read as RFC 9110 says, so two credentials are none."""
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _NAMES:
            found[name] = found[name] + b", " + value if name in found else value
    return found


def _refused(refusal: Refusal, numbers: list[Header]) -> Answer:
    challenge = b'Bearer realm="limiter"'
    if refusal.scope is not None:
        challenge += b', error="insufficient_scope", scope="%b"' % refusal.scope.encode("ascii", "replace")
    elif refusal is not MISSING:
        challenge += b', error="invalid_token"'
    headers = tuple(numbers)
    if refusal.status == UNAUTHORIZED or refusal.scope is not None:
        headers += ((b"www-authenticate", challenge),)
    return problem(refusal.status, refusal.detail, headers=headers, reason=refusal.reason)


def _guessing(over: Answer) -> Answer:
    headers = tuple(header for header in over.headers if header[0] not in (b"content-type", b"cache-control"))
    violated = json.loads(over.body)["violated-policies"]
    return problem(429, "Too many failed attempts from this address.", kind=ABNORMAL_USAGE, headers=headers, violated_policies=violated)


def _closing(send: Send) -> Send:
    """The connection ends with the answer, for whoever is asked to go elsewhere."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], _CLOSE]}
        await send(message)

    return sending
