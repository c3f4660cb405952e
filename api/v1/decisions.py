"""The decision API: `POST /v1/take`, `/v1/peek` and `/v1/refund`, for gateways in any language.

A decision is data: the status is 200 whether it allows the request or denies it. A caller can spend and refund the limits of any subject,
so callers need the permission that `V1Callers` checks. A take or a refund with an Idempotency-Key can be repeated, and charges once.
"""

import json
from typing import Any

from starlette.types import Receive, Scope, Send

from limiter.aio import AsyncLimiter
from limiter.api.answers import Answer, problem
from limiter.api.callers.v1_callers import V1Callers, caller_of
from limiter.api.front import RulesNow
from limiter.api.rules import Rules
from limiter.api.v1.bodies import (
    AnyRequest,
    BatchRefund,
    BatchRequest,
    GroupRefund,
    GroupRequest,
    SingleRefund,
    SingleRequest,
    parse_request,
    render_decision,
)
from limiter.charge import Charge
from limiter.decision import Decision
from limiter.errors import InvalidPolicy
from limiter.policy import Policy
from limiter.protocol.group import Group, Operation, grouped
from limiter.protocol.idempotency import once
from limiter.protocol.refund import refund_at

MAX_BODY = 1024 * 1024
# Limits that the decisions of one body evaluate: about 10 ms of work for Redis, and as much here for the response.
MAX_LIMITS = 8192

_OPERATIONS = {"/v1/take": Operation.TAKE, "/v1/peek": Operation.PEEK, "/v1/refund": Operation.REFUND}
_JSON = b"content-type: application/json\r\n"

_NO_OPERATION = problem(404, "Nothing is served at this path: POST to /v1/take, /v1/peek or /v1/refund.")
_NOT_POST = problem(405, "The decision API accepts POST only.", headers=((b"allow", b"POST"),))
_NOT_JSON = problem(415, "The decision API reads application/json.", headers=((b"accept", b"application/json"),))
_TOO_MUCH = problem(413, f"The requests of a body must evaluate at most {MAX_LIMITS:,} limits in all: send fewer requests at a time.")
_TOO_LARGE = problem(413, f"The body must have at most {MAX_BODY:,} bytes: send fewer requests at a time.")
_TWO_KEYS = problem(400, "The request must have at most one Idempotency-Key.")
_KEY_OF_A_BATCH = problem(400, "Idempotency-Key is for one decision, not for a body with `requests`: send each of them with its own key.")
_KEY_REUSED = problem(
    422,
    "Idempotency-Key must be new for other charges, not one that was used in the last 10 minutes: use another key.",
    reason="idempotency-key-reused",
)


class _Rejected(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class Decisions:
    def __init__(self, watched: RulesNow, limiter: AsyncLimiter, callers: V1Callers) -> None:
        self._watched, self._limiter, self._callers = watched, limiter, callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except _Rejected as rejected:
            answer = rejected.answer
        await answer.send(scope, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        rules = self._watched.rules
        refusal = self._callers.refusal(scope, rules)
        return await self._decide(scope, receive, rules) if refusal is None else refusal

    async def _decide(self, scope: Scope, receive: Receive, rules: Rules) -> Answer:
        headers = dict(scope["headers"])
        operation = _OPERATIONS.get(scope["path"])
        if operation is None:
            return _NO_OPERATION
        if scope["method"] != "POST":
            return _NOT_POST
        if not _is_json(headers.get(b"content-type", b"")):
            return _NOT_JSON
        key = None if operation == Operation.PEEK else _idempotency_key(scope)
        body = _parse(await _read(receive), operation)
        if isinstance(body, BatchRequest | BatchRefund):
            return await self._decide_each(body, operation, rules, key)
        group = _group(body, "", operation, rules, self._limiter.settings.prefix)
        return await self._decide_one(group if key is None else _once(group, key, caller_of(scope, rules)), rules)

    async def _decide_one(self, group: Group, rules: Rules) -> Answer:
        decision = await self._limiter.verdict(group, rules.deadline)
        if not isinstance(decision, Decision):
            return _KEY_REUSED
        return Answer(200, _JSON, json.dumps(render_decision(decision, rules.reset)).encode())

    async def _decide_each(self, body: BatchRequest | BatchRefund, operation: Operation, rules: Rules, key: str | None) -> Answer:
        if key is not None:
            return _KEY_OF_A_BATCH
        prefix = self._limiter.settings.prefix
        _check_work(body, rules)
        groups = [_group(request, f"requests[{place}]: ", operation, rules, prefix) for place, request in enumerate(body.requests)]
        decisions = [render_decision(decision, rules.reset) for decision in await self._limiter.decide_many(groups, rules.deadline)]
        return Answer(200, _JSON, json.dumps({"decisions": decisions}).encode())


def _is_json(content_type: bytes) -> bool:
    kind = content_type.partition(b";")[0].strip().lower()
    return kind == b"application/json" or (kind.startswith(b"application/") and kind.endswith(b"+json"))


def _idempotency_key(scope: Scope) -> str | None:
    """As a structured header, which is in quotes, or as plain text."""
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"idempotency-key"]
    if len(values) > 1:
        raise _Rejected(_TWO_KEYS)
    if not values:
        return None
    key: str = values[0]
    return key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key


def _once(group: Group, key: str, caller: str) -> Group:
    try:
        return once(group, key, f"/v1 {caller}")
    except InvalidPolicy as error:
        raise _Rejected(problem(400, str(error))) from None


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise _Rejected(_TOO_LARGE)
        if not message.get("more_body"):
            return bytes(body)


def _parse(body: bytes, operation: Operation) -> AnyRequest:
    try:
        return parse_request(_parse_json(body), refund=operation == Operation.REFUND)
    except ValueError as error:
        raise _Rejected(problem(400, str(error))) from None


def _parse_json(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body must be JSON: {error}") from None


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _group(request: SingleRequest | GroupRequest, place: str, operation: Operation, rules: Rules, prefix: str) -> Group:
    """`place` says in errors which request of a batch is meant."""
    try:
        charges = [Charge(_policy(each.policy, place, rules), each.subject, each.cost) for each in request.charges]
        if isinstance(request, SingleRefund | GroupRefund):
            return refund_at(prefix, charges, None, 1, request.account, request.at)
        return grouped(prefix, charges, None, 1, request.account, operation)
    except InvalidPolicy as error:
        raise _Rejected(problem(400, f"{place}{error}")) from None


def _check_work(body: BatchRequest | BatchRefund, rules: Rules) -> None:
    """Before groups are made, which takes longer than to count their limits. An unknown policy is refused then."""
    named = [rules.policies.get(charge.policy) for request in body.requests for charge in request.charges]
    if sum([len(policy.limits) for policy in named if policy]) > MAX_LIMITS:
        raise _Rejected(_TOO_MUCH)


def _policy(name: str, place: str, rules: Rules) -> Policy:
    policy = rules.policies.get(name)
    if policy is None:
        raise _Rejected(problem(404, f"{place}policy must be one of {', '.join(sorted(rules.policies))}, not {name!r}"))
    return policy
