"""The end of a test: the verdict, the report, the exit code, and the failures in Locust's own statistics."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from judge.verdict import Thresholds, Verdict, judged
from locust.env import Environment
from report.page import Facts, page

from users.collected import Collected
from users.plan import keys_of, over_limit

_MOST_LINES = 10
_NOT_OWED = "429, but no limit was used up"

# Printed when Locust has printed its statistics, so that it is the last thing on the screen; with the web page, after each test too.
_said: list[str] = []


def judge(environment: Environment, collected: Collected, started: float) -> None:
    options: Any = environment.parsed_options
    thresholds = Thresholds(int(options.max_failures), options.max_p99, bool(options.keys_in_use), options.shape != "steady")
    keys = collected.ledgers(keys_of(options.keys))
    verdict = judged(keys, thresholds, started, collected.mistrusted(), list(collected.notes()))
    _fail_denials_not_owed(environment, verdict)
    environment.process_exit_code = 0 if verdict.passed else 1
    report = Path(options.report)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(page(verdict, Facts(environment.host or "", options.shape, started, time.time())), "utf-8")
    problems = [f"- {problem.text}" for problem in verdict.problems[:_MOST_LINES]] if len(verdict.problems) > 1 else []
    notes = [f"Note: {note}" for note in verdict.notes]
    _said[:] = [*problems, *notes, f"Report: {report}", verdict.sentence]
    if not options.headless:
        say_the_verdict()


def _fail_denials_not_owed(environment: Environment, verdict: Verdict) -> None:
    for (method, path), number in Counter(tuple(each.name.split(" ", 1)) for each in verdict.not_owed).items():
        for _ in range(number):
            environment.stats.log_error(method, over_limit(path), _NOT_OWED)


def say_the_verdict() -> None:
    if _said:
        print(*_said, sep="\n", flush=True)
