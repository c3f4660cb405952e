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
}

_VERBS = {
    "take": ("Charge every limit or none", "Charges every limit of the policy if all of them allow it. A denial charges nothing."),
    "peek": ("Preview a take", "Returns what `take` would return now. Charges nothing."),
    "refund": (
        "Refund a cost",
        "Gives back what a decision took `at` that time, where it still counts; of a bucket, less what has refilled since.",
    ),
}

_DECISION_ERRORS = {
    "400": problem_response("The body is malformed; `detail` says which field, and why."),
    "403": problem_response("The caller is neither on this machine nor a trusted proxy."),
    "404": problem_response("The configuration has no policy of this name."),
    "413": problem_response("The body is too large."),
    "415": problem_response("The Content-Type is not JSON."),
}

_DENIALS = {
    "401": problem_response("The request has no valid key; `reason` says why."),
    "403": problem_response("The key lacks a scope, or may not be used from this address. With `deny_status: 403`, every denial."),
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
            **{f"/v1/{verb}": {"post": _decision(verb, *texts)} for verb, texts in _VERBS.items()},
            "/authorize": {"get": _authorize(rules)},
        },
        "components": {"schemas": definitions, "securitySchemes": _SECURITY_SCHEMES},
    }


def _decision(verb: str, summary: str, description: str) -> dict[str, Any]:
    what = "Refund" if verb == "refund" else "Request"
    request = {"anyOf": [_ref(f"{form}{what}") for form in ("Single", "Group", "Batch")]}
    response = {"anyOf": [_ref("DecisionBody"), _ref("DecisionsBody")]}
    decided = {"description": "The decision, allowed or denied.", "content": {"application/json": {"schema": response}}}
    return {
        "operationId": verb,
        "tags": ["decisions"],
        "summary": summary,
        "description": description,
        "security": [],
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {"200": decided, **_DECISION_ERRORS},
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
