"""Connects the users with Locust. One process, or a master with workers:

    master   test_start   -> "limiter-start" to each worker: the options, and the worker's place among the others
    worker   each second  -> "limiter-records" to the master; "limiter-user-ended" for a user that has sent all of its requests
    master   test_stop    -> "limiter-finish" to each worker, which waits for its responses and sends the rest of its records
    master   judges what all workers have sent, writes the report, and sets the exit code

A single process sends these messages to itself.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast

import gevent
import psutil
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner, Runner, WorkerRunner

from users import judging
from users.checks import checked, common_limits
from users.collected import Collected
from users.options import add_options, ours
from users.plan import Defaults, InvalidPlan, Key, Plan, planned
from users.recorder import Recorder, anchor
from users.shapes import Traffic, Volley

START, RECORDS, FINISH, ENDED = "limiter-start", "limiter-records", "limiter-finish", "limiter-user-ended"
_SEND_EVERY_S = 1.0
# How long requests in flight may take to end, and how long the master waits for the records of its workers.
_DRAIN_S, _PATIENCE_S = 5.0, 20.0


class Session:
    """One test in one process that sends."""

    def __init__(self, message: Mapping[str, Any], user_classes: list[type[Defaults]], runner: Runner) -> None:
        self._runner, self._options, self._anchor = runner, message["options"], anchor()
        self._place, self._places, self._users = message["place"], message["places"], message["users"]
        self._run_time, self._start = message["run_time"], self.now()
        self._numbers: dict[type[Defaults], Iterator[int]] = defaultdict(count)
        self.shape: str = self._options["shape"]
        self.limits = common_limits(self._options, user_classes).all
        self.recorder = Recorder(len(self.limits))

    def now(self) -> float:
        """The time of day, which does not step."""
        return time.perf_counter() + self._anchor

    def bounded(self, volleys: Iterator[Volley]) -> Iterator[Volley]:
        """With as many requests as a user may send."""
        left = self._options["requests"]
        for at, number in volleys:
            if left is None:
                yield at, number
            elif left > 0:
                yield at, min(left, number)
                left -= number
            else:
                return

    def end_of_user(self) -> None:
        self._runner.send_message(ENDED, {})

    def plan_of(self, user_class: type[Defaults]) -> Plan:
        return planned(self._options, user_class)

    def next_key(self, user_class: type[Defaults], plan: Plan) -> tuple[Key, Traffic]:
        """The users of a class take turns with the keys. So users of several classes, and of several workers, may share a key."""
        number = (self._place + next(self._numbers[user_class]) * self._places) % len(plan.keys)
        sharers = max(1, -(-self._users // len(plan.keys)))
        return plan.keys[number], Traffic(self.limits, self._start, self._run_time, sharers, number)


@dataclass(frozen=True, slots=True)
class Test:
    """A test that is running, on the side that judges. `started` is a time of day."""

    environment: Environment
    collected: Collected
    started: float
    # One for each user that has sent all of its requests.
    ended: list[str] = field(default_factory=list)


# Locust's listeners share nothing else.
_session: Session | None = None
_test: Test | None = None


def current() -> Session:
    if _session is None:
        raise InvalidPlan("the users must be started by Locust, with the options of this locustfile")
    return _session


def _classes(environment: Environment) -> list[type[Defaults]]:
    """All users of these locustfiles are of the class Caller."""
    return cast("list[type[Defaults]]", environment.user_classes)


# --- The side that sends.


def _on_start(environment: Environment, msg: Any) -> None:
    global _session  # noqa: PLW0603
    runner = _runner(environment)
    _session = None
    try:
        _session = Session(msg.data, _classes(environment), runner)
    except InvalidPlan as error:
        runner.send_message(RECORDS, {"error": str(error), "final": True})
        return
    gevent.spawn(_send_records, runner, _session.recorder)


def _send_records(runner: Runner, recorder: Recorder) -> None:
    """Also watches this process: a timer that is late, or a full core, means that it cannot send what it should."""
    process = psutil.Process()
    process.cpu_percent()
    while not recorder.closed:
        before = time.perf_counter()
        gevent.sleep(_SEND_EVERY_S)
        late = time.perf_counter() - before - _SEND_EVERY_S
        if not recorder.closed:
            runner.send_message(RECORDS, recorder.drain() | {"cpu": process.cpu_percent() / 100, "late": late})


def _on_finish(environment: Environment, **_: Any) -> None:
    """Sends the rest of the records, once."""
    if _session is None or _session.recorder.closed:
        return
    recorder = _session.recorder
    recorder.closed = True
    with gevent.Timeout(_DRAIN_S, False):
        while not recorder.idle:
            gevent.sleep(0.01)
    _runner(environment).send_message(RECORDS, recorder.close())


# --- The side that judges.


def _on_records(environment: Environment, msg: Any) -> None:
    if _test is not None:
        _test.collected.add(_name_of(environment, msg.node_id), msg.data)


def _on_ended(environment: Environment, msg: Any) -> None:
    """Ends the test with the last user."""
    if _test is not None:
        _test.ended.append(msg.node_id)
        runner = _runner(environment)
        if len(_test.ended) == runner.target_user_count:
            parsed = environment.parsed_options
            assert parsed
            gevent.spawn(runner.quit if parsed.headless else runner.stop)


def _name_of(environment: Environment, worker: str) -> str:
    runner = environment.runner
    return f"worker {runner.get_worker_index(worker)}" if isinstance(runner, MasterRunner) else "this process"


def _start(test: Test, worker: str, place: int, places: int) -> None:
    runner, parsed = _runner(test.environment), test.environment.parsed_options
    assert parsed
    test.collected.expect(_name_of(test.environment, worker))
    users = max(runner.target_user_count or 0, parsed.num_users or 1)
    plan = {"options": ours(vars(parsed)), "users": users, "run_time": parsed.run_time, "place": place, "places": places}
    runner.send_message(START, plan, worker)


def _judge(test: Test) -> None:
    """Collects the rest of the records, judges, and writes the report."""
    global _test  # noqa: PLW0603
    runner = _runner(test.environment)
    runner.send_message(FINISH)
    with gevent.Timeout(_PATIENCE_S, False):
        while not test.collected.complete() and (isinstance(runner, LocalRunner) or runner.clients.all):
            gevent.sleep(0.05)
    _test = None
    judging.judge(test.environment, test.collected, test.started)


def _runner(environment: Environment) -> Any:
    assert environment.runner
    return environment.runner


@events.init_command_line_parser.add_listener
def _add_options(parser: LocustArgumentParser) -> None:
    add_options(parser)


@events.init.add_listener
def _on_init(environment: Environment, runner: Any, **_: Any) -> None:
    parsed = environment.parsed_options
    assert parsed
    if not isinstance(runner, WorkerRunner):
        try:
            checked(vars(parsed), _classes(environment), parsed.run_time)
        except InvalidPlan as error:
            raise SystemExit(f"locust: error: {error}") from None
        runner.register_message(RECORDS, _on_records)
        runner.register_message(ENDED, _on_ended)
    if not isinstance(runner, MasterRunner):
        runner.register_message(START, _on_start)
        runner.register_message(FINISH, _on_finish, concurrent=isinstance(runner, WorkerRunner))
    # Listeners are called in reverse: this one before that with which a worker leaves its master, who then hears nothing more of it.
    environment.events.quitting.add_listener(_on_quitting)


@events.test_start.add_listener
def _on_test_start(environment: Environment, **_: Any) -> None:
    global _test  # noqa: PLW0603
    runner, parsed = environment.runner, environment.parsed_options
    if isinstance(runner, WorkerRunner):
        return
    assert parsed
    limits = common_limits(vars(parsed), _classes(environment))
    _test = Test(environment, Collected(limits, float(parsed.clock_tolerance)), time.time())
    workers = [each.id for each in runner.clients.all] if isinstance(runner, MasterRunner) else [""]
    for place, worker in enumerate(workers):
        _start(_test, worker, place, len(workers))


@events.worker_connect.add_listener
def _on_worker_connect(client_id: str, **_: Any) -> None:
    """A worker that joins during the test takes turns of its own."""
    if _test is not None:
        place = len(_test.collected.sources)
        _start(_test, client_id, place, place + 1)


@events.test_stop.add_listener
def _on_test_stop(environment: Environment, **_: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):
        _on_finish(environment)
    elif _test is not None:
        _judge(_test)


def _on_quitting(environment: Environment, **_: Any) -> None:
    """Ctrl-C arrives here first: the users are still running."""
    if isinstance(environment.runner, WorkerRunner):
        _on_finish(environment)
    elif _test is not None:
        _runner(environment).stop()


@events.quit.add_listener
def _on_quit(**_: Any) -> None:
    judging.say_the_verdict()
