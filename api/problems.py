"""What a refused caller is told: RFC 9457 problems, as bytes. The types are those of the RateLimit draft where it has one."""

from __future__ import annotations

import json
from http import HTTPStatus

from limiter.api.answers import NO_STORE, Answer, Header, head_of

QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
REDUCED_CAPACITY = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
ABNORMAL_USAGE = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected"

_TITLES = {
    QUOTA_EXCEEDED: "Request cannot be satisfied as assigned quota has been exceeded",
    REDUCED_CAPACITY: "Request cannot be satisfied due to temporary server capacity constraints",
    ABNORMAL_USAGE: "Request not satisfied due to detection of abnormal request pattern",
}

CONTENT_TYPE: Header = (b"content-type", b"application/problem+json")


def problem(status: int, detail: str, *, kind: str = "about:blank", headers: tuple[Header, ...] = (), **members: object) -> Answer:
    """An answer whose body says what is wrong; `members` are the type's own."""
    title = _TITLES.get(kind) or HTTPStatus(status).phrase
    stated = {"type": kind, "title": title, "status": status, "detail": detail}
    body = json.dumps(stated | {name.replace("_", "-"): value for name, value in members.items()}).encode()
    return Answer(status, head_of([*headers, CONTENT_TYPE, NO_STORE]), body)
