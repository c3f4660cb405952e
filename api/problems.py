"""Problem details as answers of the data plane."""

from __future__ import annotations

from limiter.api.answers import NO_STORE, Answer, Header, head_of
from limiter.problems import CONTENT_TYPE, problem_body

PROBLEM_TYPE: Header = (b"content-type", CONTENT_TYPE.encode())


def problem(status: int, detail: str, *, kind: str = "about:blank", headers: tuple[Header, ...] = (), **members: object) -> Answer:
    """An answer whose body says what is wrong. `members` are the extra fields of the problem type."""
    return Answer(status, head_of([*headers, PROBLEM_TYPE, NO_STORE]), problem_body(status, detail, kind=kind, **members))
