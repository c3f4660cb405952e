"""`limited` on every form of function, with either client."""

import asyncio
import inspect
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from contextvars import copy_context
from functools import partial

import pytest

from limiter import (
    AsyncLimiter,
    Decision,
    InvalidPolicy,
    Limiter,
    LimiterError,
    LimitExceeded,
    Policy,
    SlidingWindow,
    Subject,
    current_decision,
)
from limiter.decorator import Price, limit_async

FIVE = Policy("five", [SlidingWindow(5, 60)])


@pytest.fixture
def blocking(server, prefix):
    with Limiter(server.url, prefix=prefix, deadline=10) as limiter:
        yield limiter


@pytest.fixture
def on_loop(server, prefix):
    """Run a scenario with an AsyncLimiter."""

    async def run(scenario):
        async with AsyncLimiter(server.url, prefix=prefix, deadline=10) as limiter:
            return await scenario(limiter)

    return lambda scenario: asyncio.run(run(scenario))


@pytest.fixture
def used(blocking):
    return lambda subject="key": blocking.inspect(FIVE, subject)[0].used


def counting(limit):
    """A generator that yields what is sent to it, and turns a KeyError into an item."""
    sent = None
    for _ in range(limit):
        try:
            sent = yield sent
        except KeyError:
            sent = "caught"
    return "done"


async def counting_async(limit):
    sent = None
    for _ in range(limit):
        try:
            sent = yield sent
        except KeyError:
            sent = "caught"


def test_a_generator_is_charged_when_its_first_item_is_asked_for(blocking, used):
    limited = blocking.limited(FIVE, "key", 3)(counting)
    assert inspect.isgeneratorfunction(limited)
    items = limited(2)
    assert used() == 0
    assert list(items) == [None, None]
    assert used() == 3
    with pytest.raises(LimitExceeded):
        next(limited(2))


def test_an_async_generator_is_charged_when_its_first_item_is_asked_for(on_loop, used):
    async def scenario(limiter):
        limited = limiter.limited(FIVE, "key", 3)(counting_async)
        assert inspect.isasyncgenfunction(limited)
        items = limited(2)
        assert used() == 0
        assert [item async for item in items] == [None, None]
        assert used() == 3
        with pytest.raises(LimitExceeded):
            await anext(limited(2))

    on_loop(scenario)


def test_a_decorated_generator_passes_on_what_is_sent_and_thrown_and_returned(blocking):
    items = blocking.limited(FIVE, "key")(counting)(4)
    assert [next(items), items.send("sent"), items.throw(KeyError())] == [None, "sent", "caught"]
    with pytest.raises(LookupError):
        items.throw(IndexError())
    items = blocking.limited(FIVE, "key")(counting)(1)
    next(items)
    with pytest.raises(StopIteration) as end:
        next(items)
    assert end.value.value == "done"


def test_a_decorated_async_generator_passes_on_what_is_sent_and_thrown(on_loop):
    async def scenario(limiter):
        items = limiter.limited(FIVE, "key")(counting_async)(4)
        assert [await anext(items), await items.asend("sent"), await items.athrow(KeyError())] == [None, "sent", "caught"]
        with pytest.raises(LookupError):
            await items.athrow(IndexError())

    on_loop(scenario)


def test_a_decorated_generator_can_be_a_context_manager(blocking, on_loop):
    seen = []

    @contextmanager
    @blocking.limited(FIVE, "key")
    def resource():
        try:
            yield "resource"
        finally:
            seen.append("closed")

    with suppress(KeyError), resource() as name:
        seen.append(name)
        raise KeyError

    async def scenario(limiter):
        @asynccontextmanager
        @limiter.limited(FIVE, "key")
        async def resource():
            try:
                yield "async resource"
            finally:
                seen.append("closed")

        with suppress(KeyError):
            async with resource() as name:
                seen.append(name)
                raise KeyError

    on_loop(scenario)
    assert seen == ["resource", "closed", "async resource", "closed"]


def test_closing_a_decorated_generator_closes_the_function(blocking, on_loop):
    closed = []

    def items():
        try:
            yield
        finally:
            closed.append("generator")

    async def async_items():
        try:
            yield
        finally:
            closed.append("async generator")

    generator = blocking.limited(FIVE, "key")(items)()
    next(generator)
    generator.close()

    async def scenario(limiter):
        async with aclosing(limiter.limited(FIVE, "key")(async_items)()) as generator:
            await anext(generator)

    on_loop(scenario)
    assert closed == ["generator", "async generator"]


def test_subject_cost_and_account_may_depend_on_the_call(blocking, on_loop, used):
    callables = (FIVE, lambda user, **_: user, lambda _, weight: weight)

    @blocking.limited(*callables, account=lambda user, **_: f"account-of-{user}")
    def work(user, *, weight):
        return user, weight

    assert work("ada", weight=2) == ("ada", 2)

    async def scenario(limiter):
        @limiter.limited(*callables, account=lambda user, **_: f"account-of-{user}")
        async def work(user, *, weight):
            return user, weight

        assert await work("ada", weight=1) == ("ada", 1)

    on_loop(scenario)
    assert used(Subject("ada", account="account-of-ada")) == 3
    assert used("ada") == 0


def test_a_method_is_charged_by_its_instance(blocking, used):
    class User:
        name = "ada"

        @blocking.limited(FIVE, lambda self: self.name)
        def work(self):
            return current_decision().remaining

    assert User().work() == 4
    assert used("ada") == 1


def test_the_decision_is_current_while_the_function_runs(blocking, on_loop):
    @blocking.limited(FIVE, "key")
    def inner():
        return current_decision().remaining

    @blocking.limited(FIVE, "key", 2)
    def outer():
        return current_decision().remaining, inner(), current_decision().remaining

    assert outer() == (3, 2, 3)

    async def scenario(limiter):
        @limiter.limited(FIVE, "other")
        async def work():
            await asyncio.sleep(0)
            return current_decision().remaining

        return await asyncio.gather(work(), work(), work())

    assert on_loop(scenario) == [4, 3, 2]


def test_the_decision_is_current_in_the_body_of_a_generator_and_not_between_its_items(blocking, on_loop):
    def items():
        yield current_decision().remaining
        yield current_decision().remaining

    async def async_items():
        for item in items():
            yield item

    for item in blocking.limited(FIVE, "key")(items)():
        assert item == 4
        with pytest.raises(LimiterError, match=r"current_decision\(\) must be called in a function decorated with `limited`"):
            current_decision()

    async def scenario(limiter):
        async for item in limiter.limited(FIVE, "key")(async_items)():
            assert item == 3
            with pytest.raises(LimiterError):
                current_decision()

    on_loop(scenario)


def test_a_coroutine_may_be_closed_in_another_context():
    """As a pending task is when the collector destroys it."""

    async def admitting(_charge):
        return Decision(True, ())

    async def work():
        await asyncio.sleep(0)

    coroutine = limit_async(work, admitting, Price(FIVE, "key", 1, None))()
    copy_context().run(coroutine.send, None)
    coroutine.close()


class Callable:
    def __call__(self):
        """Does nothing."""


async def work_async():
    """Does nothing."""


def work():
    """Does nothing."""


@pytest.mark.parametrize(
    "thing", [work_async, counting_async, partial(work_async), Callable, Callable(), staticmethod(work), classmethod(work), None]
)
def test_a_limiter_refuses_to_decorate_what_it_cannot_wrap(blocking, used, thing):
    with pytest.raises(InvalidPolicy, match=r"^limited must decorate a function or a generator function, not "):
        blocking.limited(FIVE, "key")(thing)
    assert used() == 0


@pytest.mark.parametrize(
    "thing", [work, counting, partial(work), Callable, Callable(), staticmethod(work_async), classmethod(work_async), None]
)
def test_an_async_limiter_refuses_to_decorate_what_it_cannot_wrap(server, prefix, used, thing):
    limiter = AsyncLimiter(server.url, prefix=prefix)
    with pytest.raises(InvalidPolicy, match=r"^limited must decorate an async function or an async generator function, not "):
        limiter.limited(FIVE, "key")(thing)
    assert used() == 0


@pytest.mark.parametrize("callable_", [work, partial(work), print, "key".upper, Callable().__call__])
def test_a_limiter_decorates_every_kind_of_function(blocking, used, callable_):
    blocking.limited(FIVE, "key")(callable_)()
    assert used() == 1


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((FIVE, ""), {}, "subject"),
        ((FIVE, "key", -1), {}, "cost"),
        (("five", "key"), {}, "policy"),
        ((FIVE, "key"), {"account": ""}, "account"),
    ],
)
def test_a_mistake_in_the_arguments_is_refused_at_decoration(blocking, arguments, options, said):
    with pytest.raises(InvalidPolicy, match=said):
        blocking.limited(*arguments, **options)
