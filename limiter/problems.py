"""RFC 9457 problem details, the body of every refusal. The types come from draft-ietf-httpapi-ratelimit-headers."""

import json
from http import HTTPStatus

CONTENT_TYPE = "application/problem+json"

QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
REDUCED_CAPACITY = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
ABNORMAL_USAGE = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected"

_TITLES = {
    QUOTA_EXCEEDED: "Request cannot be satisfied as assigned quota has been exceeded",
    REDUCED_CAPACITY: "Request cannot be satisfied due to temporary server capacity constraints",
    ABNORMAL_USAGE: "Request not satisfied due to detection of abnormal request pattern",
}


def problem_body(status: int, detail: str, *, kind: str = "about:blank", **members: object) -> bytes:
    """`members` are the extra fields of the type; `violated_policies` becomes `violated-policies`."""
    title = _TITLES.get(kind) or HTTPStatus(status).phrase
    stated = {"type": kind, "title": title, "status": status, "detail": detail}
    return json.dumps(stated | {name.replace("_", "-"): value for name, value in members.items()}).encode()
