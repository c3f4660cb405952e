"""The OpenAPI document of the front listener. It is raw ASGI, so nothing writes this by itself; a test holds it against the answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from limiter.api.rules import Rules
from limiter.api.v1.bodies import BatchRequest, DecisionsTold, DecisionTold, GroupRequest, SingleRequest

_REF = "#/components/schemas/{model}"
_MODELS: tuple[type[BaseModel], ...] = (SingleRequest, GroupRequest, BatchRequest, DecisionTold, DecisionsTold)

_PROBLEM = {
    "type": "object",
    "description": "RFC 9457; `violated-policies` and `degraded` as in draft-ietf-httpapi-ratelimit-headers and in decisions.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "reason": {"type": "string"},
        "violated-policies": {"type": "array", "items": {"type": "string"}},
        "degraded": {"type": "string"},
    },
}

_VERBS = {
    "take": "Charge every limit, or none of them",
    "peek": "What `take` would answer now; nothing is charged",
    "refund": "Give the cost back, as far as it is in use",
}

_REFUSALS = {
    "400": "The body is not as it must be; `detail` names what, and where.",
    "403": "Asked from elsewhere than this machine or a trusted proxy.",
    "404": "A policy that there is not.",
    "413": "The body is too large.",
    "415": "The body is no JSON by its Content-Type.",
}

_VERDICTS = {
    "200": "Pass it on. The headers say how the limits stand.",
    "401": "No key, or not a good one; `reason` says which.",
    "403": "The key may not do this, or not from there; or a denial, where denials are configured to be 403.",
    "429": "Over a limit.",
    "503": "Redis does not decide, and the policy fails closed.",
}


def front_document(rules: Rules, server: str, version: str) -> dict[str, Any]:
    """For the rules in force: their policies' names are part of it."""
    _, schemas = models_json_schema([(model, "validation") for model in _MODELS], ref_template=_REF)
    definitions = {**schemas["$defs"], "Problem": _PROBLEM}
    for name in ("ChargeBody", "SingleRequest"):
        definitions[name]["properties"]["policy"]["enum"] = sorted(rules.policies)
    return {
        "openapi": "3.1.0",
        "info": {"title": "limiter: decisions", "version": version},
        "servers": [{"url": server}],
        "paths": {
            **{f"/v1/{verb}": {"post": _decision(verb, summary)} for verb, summary in _VERBS.items()},
            "/authorize": {"get": _authorize()},
        },
        "components": {"schemas": definitions, "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=name)}


def _problems(stated: dict[str, str]) -> dict[str, Any]:
    return {
        status: {"description": text, "content": {"application/problem+json": {"schema": _ref("Problem")}}}
        for status, text in stated.items()
    }


def _decision(verb: str, summary: str) -> dict[str, Any]:
    asked = {"anyOf": [_ref("SingleRequest"), _ref("GroupRequest"), _ref("BatchRequest")]}
    told = {"anyOf": [_ref("DecisionTold"), _ref("DecisionsTold")]}
    decided = {"description": "Decided, whether allowed or not.", "content": {"application/json": {"schema": told}}}
    return {
        "operationId": verb,
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": asked}}},
        "responses": {"200": decided, **_problems(_REFUSALS)},
    }


def _authorize() -> dict[str, Any]:
    return {
        "operationId": "authorize",
        "summary": "Forward-auth: any method, and any path below, are taken alike",
        "security": [{"bearer": []}],
        "responses": {
            "200": {"description": _VERDICTS["200"]},
            **_problems({status: text for status, text in _VERDICTS.items() if status != "200"}),
        },
    }
