"""The OpenAPI document of the front listener. The front is raw ASGI, so FastAPI cannot derive it; a test compares it with the responses."""

from typing import Any

from pydantic.json_schema import models_json_schema

from limiter.api.control.problem_handlers import Problem, problem_response
from limiter.api.control.schema_defaults import describe_defaults
from limiter.api.rules import Rules
from limiter.api.v1.bodies import (
    BatchRefund,
    BatchRequest,
    DecisionBody,
    DecisionsBody,
    GroupRefund,
    GroupRequest,
    SingleRefund,
    SingleRequest,
)

_REF = "#/components/schemas/{model}"

# Members that some problems have in addition.
_PROBLEM_MEMBERS = {
    "reason": {"type": "string", "description": "Why the key or the request is refused, such as `expired`."},
    "violated-policies": {"type": "array", "items": {"type": "string"}, "description": "The names of the limits that deny."},
    "degraded": {"type": "string", "description": "Why Redis did not decide."},
}

_SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, as `Authorization: Bearer`."},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
    "v1-token": {"type": "http", "scheme": "bearer", "description": "The token of the decision API, LIMITER_V1_TOKEN."},
}

# What `v1` in the configuration means for a caller.
_CALLERS = {
    "loopback": "Answers programs on the same machine that call it directly, without a proxy in between.",
    "trusted": "Answers programs on the same machine and trusted proxies.",
    "token": "Answers callers with the token, from any address.",
}

_VERBS = {
    "take": ("Charge every limit or none", "Charges every limit of the policy if all of them allow it. A denial charges nothing."),
    "peek": ("Preview a take", "Returns what `take` would return now. Charges nothing."),
    "refund": (
        "Refund a cost",
        "Gives back what a decision took `at` that time, where it still counts; of a bucket, less what has refilled since.",
    ),
}

_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Such as a UUID. The same request with the same key is charged once in 10 minutes. Not for a body with `requests`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[!#-\[\]-~]+$"},
}

_KEY_REUSED = {"422": problem_response("The Idempotency-Key was used for other charges.")}

_DECISION_ERRORS = {
    "400": problem_response("The body is malformed; `detail` says which field, and why."),
    "401": problem_response("The request has no token of the decision API, or a wrong one."),
    "403": problem_response("The caller is not on this machine or not trusted, or is a web page; `reason` says which."),
    "404": problem_response("The configuration has no policy of this name."),
    "413": problem_response("The body is too large."),
    "415": problem_response("The Content-Type is not JSON."),
    "421": problem_response("Host is not a name of this listener."),
}

_DENIALS = {
    "400": problem_response("The path, or what the gateway says of the request, can be read in different ways; `reason` says why."),
    "401": problem_response("The request has no valid key; `reason` says why. After too many of these, 429."),
    "403": problem_response("The key lacks a scope, or may not be used from this address. With `deny_status: 403`, every denial."),
    "414": problem_response("The path is too long."),
    "429": problem_response("A limit denies the request."),
    "503": problem_response("Redis did not decide, and the policy fails closed."),
}


def front_document(rules: Rules, server: str, version: str) -> dict[str, Any]:
    """The document for these rules: it lists the names of their policies."""
    models = (SingleRequest, GroupRequest, BatchRequest, SingleRefund, GroupRefund, BatchRefund, DecisionBody, DecisionsBody, Problem)
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    definitions = schemas["$defs"]
    definitions["Problem"]["properties"] |= _PROBLEM_MEMBERS
    for definition in definitions.values():
        describe_defaults(definition)
    for name in ("ChargeBody", "SingleRequest", "SingleRefund"):
        definitions[name]["properties"]["policy"]["enum"] = sorted(rules.policies)
    return {
        "openapi": "3.1.0",
        "info": {"title": "limiter: decisions", "version": version},
        "servers": [{"url": server}],
        "tags": [{"name": "decisions"}, {"name": "gateways"}],
        "paths": {
            **{f"/v1/{verb}": {"post": _decision(rules, verb, *texts)} for verb, texts in _VERBS.items() if rules.v1 != "off"},
            "/authorize": {"get": _authorize(rules)},
        },
        "components": {"schemas": definitions, "securitySchemes": _SECURITY_SCHEMES},
    }


def _decision(rules: Rules, verb: str, summary: str, description: str) -> dict[str, Any]:
    what = "Refund" if verb == "refund" else "Request"
    request = {"anyOf": [_ref(f"{form}{what}") for form in ("Single", "Group", "Batch")]}
    response = {"anyOf": [_ref("DecisionBody"), _ref("DecisionsBody")]}
    decided = {"description": "The decision, allowed or denied.", "content": {"application/json": {"schema": response}}}
    is_charged = verb != "peek"
    return {
        "operationId": verb,
        "tags": ["decisions"],
        "parameters": [_IDEMPOTENCY_KEY] if is_charged else [],
        "summary": summary,
        "description": f"{description} {_CALLERS[rules.v1]}",
        "security": [{"v1-token": []}] if rules.v1 == "token" else [],
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {"200": decided, **_DECISION_ERRORS, **(_KEY_REUSED if is_charged else {})},
    }


def _authorize(rules: Rules) -> dict[str, Any]:
    anonymous: list[dict[str, list[str]]] = [] if rules.anonymous is None else [{}]
    return {
        "operationId": "authorize",
        "tags": ["gateways"],
        "summary": "Authorize and charge a request",
        "description": "For gateways with forward-auth. Every method, and every path below this one, is handled the same way.",
        "security": [{name: []} for name in rules.order] + anonymous,
        "responses": {"200": {"description": "Pass the request on. The headers say how the limits stand."}, **_DENIALS},
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=name)}
