"""A limit in the file: text such as `100/minute`, or a mapping with the fields of its kind."""

from collections.abc import Callable
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Discriminator, Tag, model_validator

from limiter.api.config.fields import Flag, Form, InvalidValue, Length, LimitText, ListOf, Text, Whole, possible
from limiter.limits import Limit, Quota, SlidingWindow, TokenBucket
from limiter.policy import Failure, Policy


class LimitForm(Form):
    """A limit as a mapping. Building the limit checks the values."""

    kind: ClassVar[Callable[..., Limit]]

    def built(self) -> Limit:
        return self.kind(**dict(self))

    @model_validator(mode="after")
    def _builds(self) -> Self:
        possible(self.built)
        return self


class SlidingWindowForm(LimitForm):
    kind = SlidingWindow

    capacity: Whole
    window: Length
    name: Text = ""
    shadow: Flag = False


class TokenBucketForm(LimitForm):
    kind = TokenBucket

    capacity: Whole
    refill: Whole
    per: Length = "second"
    name: Text = "burst"
    shadow: Flag = False


class QuotaForm(LimitForm):
    kind = Quota

    capacity: Whole
    period: Text
    timezone: Text = "UTC"
    anchor: Whole = 1
    name: Text = ""
    shadow: Flag = False


class KindForm(Form):
    sliding_window: SlidingWindowForm | None = None
    token_bucket: TokenBucketForm | None = None
    quota: QuotaForm | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise InvalidValue("must have exactly one of sliding_window, token_bucket and quota")
        return self

    def built(self) -> Limit:
        form = self.sliding_window or self.token_bucket or self.quota
        assert form is not None  # noqa: S101 - `_one_kind` has checked it
        return form.built()


OneLimit = Annotated[
    Annotated[LimitText, Tag("text")] | Annotated[KindForm, Tag("mapping")],
    Discriminator(lambda value: "mapping" if isinstance(value, dict) else "text"),
]


def _built(limits: tuple[Limit | KindForm, ...]) -> list[Limit]:
    return [limit.built() if isinstance(limit, KindForm) else limit for limit in limits]


def _together(limits: tuple[Limit | KindForm, ...]) -> tuple[Limit | KindForm, ...]:
    # Checks the limits together. The mistake names the policy's field, so the message does not repeat its name.
    try:
        Policy("policy", _built(limits))
    except ValueError as error:
        raise InvalidValue(str(error).removeprefix("policy 'policy' ")) from None
    return limits


class PolicyForm(Form):
    limits: Annotated[ListOf[OneLimit], AfterValidator(_together)]
    failure: Failure | None = None

    def built(self, name: str, failure: Failure) -> Policy:
        return Policy(name, _built(self.limits), failure=self.failure or failure)
