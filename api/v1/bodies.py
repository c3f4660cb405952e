"""What is asked of the decision API, and what it answers, as JSON: read strictly, and the source of the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limiter.decision import Decision, LimitState
from limiter.headers import Reset

MOST_REQUESTS = 1000
_MOST_CHARGES = 16

# As `limiter.charge` has it; said here so that a reader of the document knows.
Subject = Annotated[
    str,
    Field(
        min_length=1,
        max_length=256,
        pattern=r"^[^\s{}\x00-\x1f\x7f-\x9f]+$",
        description="A key, an account, an address: printable, without blanks and braces.",
        examples=["key-1"],
    ),
]
Name = Annotated[str, Field(min_length=1, max_length=64, description="A policy of the configuration.", examples=["standard"])]
Cost = Annotated[int, Field(ge=0, le=2**53 - 1, description="Units to charge; 0 only looks.")]
Account = Annotated[Subject | None, Field(description="Where the counts are kept: the same one for the same subject always.")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ChargeAsked(_Strict):
    """A policy, applied to a subject."""

    policy: Name
    subject: Subject
    cost: Cost = 1


class OneAsked(ChargeAsked):
    """One charge."""

    account: Account = None

    @property
    def charges(self) -> list[ChargeAsked]:
        return [self]


class TogetherAsked(_Strict):
    """Several charges, made together or not at all."""

    charges: Annotated[list[ChargeAsked], Field(min_length=1, max_length=_MOST_CHARGES)]
    account: Account = None


class ManyAsked(_Strict):
    """Requests that have nothing to do with each other, each with a decision of its own."""

    requests: Annotated[list[OneAsked | TogetherAsked], Field(min_length=1, max_length=MOST_REQUESTS)]


class LimitTold(BaseModel):
    """One limit: with 100 a minute and 42 left, `capacity` is 100 and `remaining` 42. Times are seconds from now."""

    name: str
    policy: str
    subject: str
    capacity: int
    remaining: int
    retry_after: float | None = Field(description="0 where there is room; null where the cost is above the capacity.")
    reset_after: float
    shadow: bool


class DecisionTold(BaseModel):
    """`headers` are for the caller's own response, if it wants to pass the numbers on."""

    allowed: bool
    retry_after: float | None = Field(description="0 if allowed; null where waiting will not help, or nobody knows.")
    reason: str
    binding: str | None = Field(description="The name of the limit that matters.")
    degraded: Literal["open", "closed"] | None = Field(description="Redis did not decide; this is by the policy's failure mode.")
    limits: list[LimitTold]
    headers: dict[str, str]


class DecisionsTold(BaseModel):
    decisions: list[DecisionTold]


Asked = OneAsked | TogetherAsked


def read(told: Any) -> Asked | ManyAsked:
    """Which of the forms is meant shows in its fields; ValueError names what is wrong with it, and where."""
    if not isinstance(told, dict):
        raise ValueError(f"the body is {_kind(told)}, not an object such as {{'policy': 'standard', 'subject': 'key-1'}}")  # noqa: TRY004 - one error for all that can be wrong
    form: type[OneAsked | TogetherAsked | ManyAsked] = OneAsked
    if "requests" in told:
        form = ManyAsked
    elif "charges" in told:
        form = TogetherAsked
    try:
        return form.model_validate(told)
    except ValidationError as error:
        raise ValueError("; ".join(_mistake(each) for each in error.errors(include_url=False))) from None


def _mistake(error: Any) -> str:
    place = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"] if part not in ("OneAsked", "TogetherAsked")
    )
    shown = "" if error["type"] == "missing" else f" ({_shown(error['input'])})"
    return f"{place.lstrip('.') or 'the body'}{shown}: {error['msg']}"


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."  # noqa: PLR2004


def _kind(value: object) -> str:
    return {"NoneType": "null", "list": "an array", "str": "a string", "bool": "a boolean"}.get(type(value).__name__, "a number")


def told(decision: Decision, reset: Reset) -> dict[str, Any]:
    """As DecisionTold; put together by hand, since a gateway waits for it."""
    binding = decision.binding
    mode = ("open" if decision.allowed else "closed") if decision.degraded else None
    return {
        "allowed": decision.allowed,
        "retry_after": decision.retry_after,
        "reason": decision.reason,
        "binding": binding.name if binding else None,
        "degraded": mode,
        "limits": [limit_told(state) for state in decision.limits],
        "headers": decision.headers(reset),
    }


def limit_told(state: LimitState) -> dict[str, Any]:
    """As LimitTold."""
    return {
        "name": state.name,
        "policy": state.charge.policy.name,
        "subject": state.charge.subject,
        "capacity": state.capacity,
        "remaining": state.remaining,
        "retry_after": state.retry_after,
        "reset_after": state.reset_after,
        "shadow": state.limit.shadow,
    }
