"""The decision API: `POST /v1/take`, `/v1/peek` and `/v1/refund`, for gateways in any language.

A decision is data: the answer is 200 whether it allows or not, and says which. Whoever may call it can spend and give back anybody's
limits, so it answers callers on this machine and those that the configuration trusts as proxies, and nobody who comes through them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from starlette.types import Receive, Scope, Send

from limiter.addresses import parse_address
from limiter.aio import AsyncLimiter
from limiter.api.answers import Answer, problem
from limiter.api.forwarded import client_address, peer_of
from limiter.api.front import RulesNow
from limiter.api.rules import Rules
from limiter.api.v1.bodies import Asked, ManyAsked, read, told
from limiter.charge import Charge
from limiter.decision import Decision
from limiter.errors import BackendError, InvalidPolicy
from limiter.protocol.group import Group, Operation, grouped

LARGEST_BODY = 1024 * 1024

_OPERATIONS = {"/v1/take": Operation.TAKE, "/v1/peek": Operation.PEEK, "/v1/refund": Operation.REFUND}
_JSON = b"content-type: application/json\r\n"


class _Refused(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class Decisions:
    """An ASGI application."""

    def __init__(self, watched: RulesNow, limiter: AsyncLimiter) -> None:
        self._watched, self._limiter = watched, limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except _Refused as refused:
            answer = refused.answer
        await answer.send(scope, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        rules = self._watched.rules
        operation = _OPERATIONS.get(scope["path"])
        if operation is None:
            return problem(404, "The decision API is POST /v1/take, /v1/peek and /v1/refund.")
        if scope["method"] != "POST":
            return problem(405, "The decision API is asked by POST.", headers=((b"allow", b"POST"),))
        headers = dict(scope["headers"])
        if not _may_ask(scope, headers, rules):
            return problem(403, "The decision API answers this machine and trusted proxies only.", reason="address-not-allowed")
        if not _is_json(headers.get(b"content-type", b"")):
            return problem(415, "The decision API reads application/json.", headers=((b"accept", b"application/json"),))
        return await self._decide(await _body(receive), operation, rules)

    async def _decide(self, body: bytes, operation: Operation, rules: Rules) -> Answer:
        asked = _read(body)
        requests: Sequence[Asked] = asked.requests if isinstance(asked, ManyAsked) else [asked]
        prefix = self._limiter.settings.prefix
        groups = [
            _group(request, place if isinstance(asked, ManyAsked) else None, operation, rules, prefix)
            for place, request in enumerate(requests)
        ]
        try:
            decisions = await self._limiter.decide_many(groups, rules.deadline)
        except BackendError:
            # Only a policy without a failure mode comes here, and those of a configuration all have one.
            decisions = [Decision(False, group.charges, degraded="Redis did not decide; refused") for group in groups]
        answers = [told(decision, rules.reset) for decision in decisions]
        return Answer(200, _JSON, json.dumps({"decisions": answers} if isinstance(asked, ManyAsked) else answers[0]).encode())


def _may_ask(scope: Scope, headers: dict[bytes, bytes], rules: Rules) -> bool:
    def ours(ip: str) -> bool:
        return rules.trusts(ip) or _is_loopback(ip)

    peer = peer_of(scope)
    return ours(peer) and ours(client_address(peer, headers, ours))


def _is_loopback(ip: str) -> bool:
    found = parse_address(ip)
    return found is not None and found.is_loopback


def _is_json(content_type: bytes) -> bool:
    kind = content_type.partition(b";")[0].strip().lower()
    return kind == b"application/json" or (kind.startswith(b"application/") and kind.endswith(b"+json"))


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            raise _Refused(problem(413, f"The body is larger than {LARGEST_BODY:,} bytes: send fewer requests at a time."))
        if not message.get("more_body"):
            return bytes(body)


def _read(body: bytes) -> Asked | ManyAsked:
    try:
        return read(_parsed(body))
    except ValueError as error:
        raise _Refused(problem(400, str(error))) from None


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is no JSON: {error}") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _group(request: Asked, place: int | None, operation: Operation, rules: Rules, prefix: str) -> Group:
    at = "" if place is None else f"requests[{place}]: "
    charges = []
    for each in request.charges:
        policy = rules.policies.get(each.policy)
        if policy is None:
            raise _Refused(problem(404, f"{at}there is no policy {each.policy!r}; there is {', '.join(sorted(rules.policies))}"))
        try:
            charges.append(Charge(policy, each.subject, each.cost))
        except InvalidPolicy as error:
            raise _Refused(problem(400, f"{at}{error}")) from None
    try:
        return grouped(prefix, charges, None, 1, request.account, operation)
    except InvalidPolicy as error:
        raise _Refused(problem(400, f"{at}{error}")) from None
