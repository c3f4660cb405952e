"""The JSON bodies of the decision API. Requests are read strictly, and the OpenAPI document is generated from these models."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limiter.decision import Decision, LimitState
from limiter.errors import shown
from limiter.headers import Reset

# The same rule as in `limiter.charge`, stated here for the OpenAPI document.
Subject = Annotated[
    str,
    Field(
        min_length=1,
        max_length=256,
        pattern=r"^[^\s{}\x00-\x1f\x7f-\x9f]+$",
        description="A key, an account or an address: printable characters without spaces and braces.",
        examples=["key-1"],
    ),
]
Name = Annotated[str, Field(min_length=1, max_length=64, description="The name of a policy in the configuration.", examples=["standard"])]
Cost = Annotated[int, Field(ge=0, le=2**53 - 1, description="Units to charge. 0 charges nothing and returns the current numbers.")]
At = Annotated[
    float,
    Field(
        ge=0,
        lt=2**32,
        description="When the units were taken, in seconds of Redis's clock: the field `at` of the response to the take.",
        examples=[1800014400.123456],
    ),
]
Account = Annotated[Subject | None, Field(description="The owner of the counts. Use the same one in every call for a subject.")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ChargeBody(_Strict):
    """A policy that is applied to a subject."""

    policy: Name
    subject: Subject
    cost: Cost = 1


class SingleRequest(ChargeBody):
    """A request with one charge."""

    account: Account = None

    @property
    def charges(self) -> list[ChargeBody]:
        return [self]


class GroupRequest(_Strict):
    """A request with several charges: all of them are made, or none is."""

    charges: Annotated[list[ChargeBody], Field(min_length=1, max_length=16)]
    account: Account = None


class BatchRequest(_Strict):
    """Independent requests. Each gets its own decision."""

    requests: Annotated[list[SingleRequest | GroupRequest], Field(min_length=1, max_length=1000)]


class SingleRefund(SingleRequest):
    """A refund of one charge. Limits in shadow give nothing back: the time does not say whether they had room and were charged."""

    at: At


class GroupRefund(GroupRequest):
    """A refund of several charges that were made by one decision."""

    at: At


class BatchRefund(_Strict):
    """Refunds of several decisions."""

    requests: Annotated[list[SingleRefund | GroupRefund], Field(min_length=1, max_length=1000)]


AnyRequest = SingleRequest | GroupRequest | BatchRequest | BatchRefund


class LimitBody(BaseModel):
    """One limit: with 100 a minute and 42 left, `capacity` is 100 and `remaining` 42. Times are seconds from now."""

    name: str
    policy: str
    subject: str
    capacity: int
    remaining: int
    retry_after: float | None = Field(description="0 if there is room; null if the cost is above the capacity.")
    reset_after: float
    shadow: bool


class DecisionBody(BaseModel):
    """`headers` are the rate limit headers, for the caller to add to its own response."""

    allowed: bool
    at: float | None = Field(description="Redis's time of the decision, in seconds, for `/v1/refund`; null if Redis did not decide.")
    retry_after: float | None = Field(description="0 if allowed; null if waiting does not help or Redis did not decide.")
    reason: str
    binding: str | None = Field(
        description="The name of the limit with the least left or, after a denial, of the limit that blocks longest."
    )
    degraded: Literal["open", "closed"] | None = Field(description="The failure mode that decided because Redis did not; null otherwise.")
    limits: list[LimitBody]
    headers: dict[str, str]


class DecisionsBody(BaseModel):
    decisions: list[DecisionBody]


def parse_request(body: Any, *, refund: bool) -> AnyRequest:
    """Chooses the form by the fields of the body. Raises ValueError that names each wrong value and where it is."""
    if not isinstance(body, dict):
        raise ValueError(f"the body must be an object such as {{'policy': 'standard', 'subject': 'key-1'}}, not {_kind(body)}")  # noqa: TRY004 - one error for everything that can be wrong
    form: type[AnyRequest] = SingleRefund if refund else SingleRequest
    if "requests" in body:
        form = BatchRefund if refund else BatchRequest
    elif "charges" in body:
        form = GroupRefund if refund else GroupRequest
    try:
        return form.model_validate(body)
    except ValidationError as error:
        raise ValueError("; ".join(_mistake(each) for each in error.errors(include_url=False))) from None


def _mistake(error: Any) -> str:
    # Inside a batch, pydantic adds the form that it tried to the path.
    forms = tuple(form.__name__ for form in (SingleRequest, GroupRequest, SingleRefund, GroupRefund))
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"] if part not in forms)
    value = "" if error["type"] == "missing" else f" ({shown(error['input'])})"
    if error["type"] == "missing" and error["loc"][-1:] == ("at",):
        return f"{path.lstrip('.')}: must be a number, from the field `at` of the response to the take"
    return f"{path.lstrip('.') or 'the body'}{value}: {error['msg']}"


def _kind(value: object) -> str:
    return {"NoneType": "null", "list": "an array", "str": "a string", "bool": "a boolean"}.get(type(value).__name__, "a number")


def render_decision(decision: Decision, reset: Reset) -> dict[str, Any]:
    """As DecisionBody; put together by hand, since a gateway waits for it."""
    binding = decision.binding
    mode = ("open" if decision.allowed else "closed") if decision.degraded else None
    return {
        "allowed": decision.allowed,
        "at": None if decision.degraded else decision.at,
        "retry_after": decision.retry_after,
        "reason": decision.reason,
        "binding": binding.name if binding else None,
        "degraded": mode,
        "limits": [render_limit(state) for state in decision.limits],
        "headers": decision.headers(reset),
    }


def render_limit(state: LimitState) -> dict[str, Any]:
    """As LimitBody."""
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
