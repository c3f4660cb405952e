"""`limited`: the decorator that takes before each call of a function.

Whether the function is plain or async, a wrapper does the same: it charges, makes the decision current, and runs the function. A generator
is charged when its first item is asked for, because its body starts there.
"""

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, Protocol, TypeVar, cast

from limiter.charge import Charge, Subject
from limiter.decision import Decision
from limiter.errors import InvalidPolicy, LimiterError, shown
from limiter.policy import Policy

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")
A = TypeVar("A", bound=Callable[..., Awaitable[Any] | AsyncIterator[Any]])

SubjectOf = str | Subject | Callable[..., str | Subject]
CostOf = int | Callable[..., int]
AccountOf = str | Callable[..., str | None] | None

# Charges for a call with these arguments, and returns the decision that admits it.
Admit = Callable[[tuple[Any, ...], dict[str, Any]], R]


class Decorator(Protocol):
    def __call__(self, function: F, /) -> F: ...


class AsyncDecorator(Protocol):
    def __call__(self, function: A, /) -> A: ...


@dataclass(frozen=True, slots=True)
class Price:
    """What a call is charged. A callable gets the arguments of the decorated function."""

    policy: Policy
    subject: SubjectOf
    cost: CostOf
    account: AccountOf

    def __post_init__(self) -> None:
        if not any(map(callable, (self.subject, self.cost, self.account))):
            # Nothing depends on the call, so a mistake shows at decoration.
            self.charge()

    def charge(self, *args: Any, **kwargs: Any) -> Charge:
        subject = self.subject(*args, **kwargs) if callable(self.subject) else self.subject
        cost = self.cost(*args, **kwargs) if callable(self.cost) else self.cost
        account = self.account(*args, **kwargs) if callable(self.account) else self.account
        return Charge(self.policy, subject, cost, account)


_current: ContextVar[Decision] = ContextVar("limiter_current_decision")


def current_decision() -> Decision:
    """Return the decision that admitted the running call of a function decorated with `limited`."""
    try:
        return _current.get()
    except LookupError:
        raise LimiterError("current_decision() must be called in a function decorated with `limited`, not outside of one") from None


@contextmanager
def _deciding(decision: Decision) -> Iterator[None]:
    token = _current.set(decision)
    try:
        yield
    finally:
        # A coroutine that is closed before its end may be closed in another context, which needs no reset.
        with suppress(ValueError):
            _current.reset(token)


def limit(function: F, enforce: Callable[[Charge], Decision], price: Price) -> F:
    if not _is_routine(function) or _is_async(function):
        raise _misplaced(function, "a function or a generator function", "an AsyncLimiter decorates async functions")
    wrap = _generator if inspect.isgeneratorfunction(function) else _function
    return cast("F", wraps(function)(wrap(function, lambda args, kwargs: enforce(price.charge(*args, **kwargs)))))


def limit_async(function: A, enforce: Callable[[Charge], Awaitable[Decision]], price: Price) -> A:
    if not _is_routine(function) or not _is_async(function):
        raise _misplaced(function, "an async function or an async generator function", "a Limiter decorates other functions")
    wrap = _async_generator if inspect.isasyncgenfunction(function) else _coroutine_function
    return cast("A", wraps(function)(wrap(function, lambda args, kwargs: enforce(price.charge(*args, **kwargs)))))


def _is_routine(function: object) -> bool:
    """Whether it is called as it stands: a class or a staticmethod object is callable too, but is more than its call."""
    return isinstance(function, partial) or (inspect.isroutine(function) and not isinstance(function, staticmethod | classmethod))


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _misplaced(function: object, accepted: str, remedy: str) -> InvalidPolicy:
    kind = "async function" if _is_async(function) else "class" if isinstance(function, type) else type(function).__name__
    return InvalidPolicy(f"limited must decorate {accepted}, not {kind} {getattr(function, '__name__', shown(function))}; {remedy}")


def _function(function: Callable[..., Any], admit: Admit[Decision]) -> Callable[..., Any]:
    def limited(*args: Any, **kwargs: Any) -> Any:
        with _deciding(admit(args, kwargs)):
            return function(*args, **kwargs)

    return limited


def _coroutine_function(function: Callable[..., Any], admit: Admit[Awaitable[Decision]]) -> Callable[..., Any]:
    async def limited(*args: Any, **kwargs: Any) -> Any:
        with _deciding(await admit(args, kwargs)):
            return await function(*args, **kwargs)

    return limited


# A generator shares the context of its consumer, so the decision is current only while its body runs: not from a yield to the next resume.


def _generator(function: Callable[..., Any], admit: Admit[Decision]) -> Callable[..., Any]:
    def limited(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        decision = admit(args, kwargs)
        items = function(*args, **kwargs)
        resume = partial(items.send, None)
        while True:
            try:
                with _deciding(decision):
                    item = resume()
            except StopIteration as end:
                return end.value
            try:
                resume = partial(items.send, (yield item))
            except BaseException as error:  # noqa: BLE001 - whatever is thrown in belongs to the function
                resume = partial(items.throw, error)

    return limited


def _async_generator(function: Callable[..., Any], admit: Admit[Awaitable[Decision]]) -> Callable[..., Any]:
    async def limited(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        decision = await admit(args, kwargs)
        items = function(*args, **kwargs)
        resume = items.asend(None)
        while True:
            try:
                with _deciding(decision):
                    item = await resume
            except StopAsyncIteration:
                return
            try:
                resume = items.asend((yield item))
            except BaseException as error:  # noqa: BLE001 - whatever is thrown in belongs to the function
                resume = items.athrow(error)

    return limited
