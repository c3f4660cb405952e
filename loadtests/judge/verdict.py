"""The verdict over a whole test: every problem that was found, and the sentence that says it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from judge.ledger import Ledger, Ledgers
from judge.requests import Request


@dataclass(frozen=True, slots=True)
class Thresholds:
    """`max_p99` in milliseconds. `others_use_keys`: other traffic is charged to the keys too, so only the limits can be judged.

    `must_deny`: a test that reaches no limit proves nothing.
    """

    max_failures: int = 0
    max_p99: float | None = None
    others_use_keys: bool = False
    must_deny: bool = True


@dataclass(frozen=True, slots=True)
class Problem:
    """`key` is the key or account to blame, if it is one alone."""

    text: str
    key: str = ""


@dataclass(frozen=True)
class Verdict:
    problems: Sequence[Problem]
    notes: Sequence[str]
    keys: Sequence[Ledgers]
    requests: Sequence[Request]
    not_owed: Sequence[Request]

    @property
    def passed(self) -> bool:
        return not self.problems

    @property
    def admitted(self) -> int:
        return sum(each.admitted for each in self.requests)

    @property
    def denied(self) -> int:
        return sum(each.denied for each in self.requests)

    @property
    def failed(self) -> int:
        return sum(each.failed for each in self.requests)

    @property
    def sentence(self) -> str:
        if self.passed:
            reached = f"{self.denied:,} denied" if self.denied else "none denied"
            return f"PASS: the limits were held. {self.admitted:,} requests of {counted(len(self.keys), 'key')} were admitted, {reached}."
        more = f" ({counted(len(self.problems) - 1, 'more problem')} in the report)" if len(self.problems) > 1 else ""
        return f"FAIL: {self.problems[0].text}{more}."


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percentile(ordered: Sequence[float], share: float) -> float:
    """Of a sorted list."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def judged(
    keys: Sequence[Ledgers], thresholds: Thresholds, started: float, mistrusted: Iterable[str] = (), notes: Sequence[str] = ()
) -> Verdict:
    """`mistrusted` are reasons why the requests themselves are not a sound base: a worker is missing, or its clock is wrong."""
    requests = sorted((each for ledgers in keys for each in ledgers.key.requests), key=lambda each: each.sent)
    accounts = {ledgers.account.name: ledgers.account for ledgers in keys if ledgers.account}
    problems = [Problem(f"inconclusive, because {reason}") for reason in mistrusted]
    for ledger in (*(ledgers.key for ledgers in keys), *accounts.values()):
        problems += [Problem(f"{ledger.name}: {breach}", ledger.name) for breach in ledger.breaches()]
    not_owed: list[Request] = []
    if not thresholds.others_use_keys:
        for ledgers in keys:
            found = ledgers.denials_not_owed()
            not_owed += found
            problems += _of_key(ledgers.key, found, started)
            problems += _headers_of_key(ledgers, started)
    problems += _of_all(requests, thresholds)
    return Verdict(problems, notes, keys, requests, not_owed)


def _of_key(key: Ledger, not_owed: Sequence[Request], started: float) -> Iterator[Problem]:
    if not_owed:
        first = min(each.sent for each in not_owed) - started
        were = "denial was" if len(not_owed) == 1 else "denials were"
        yield Problem(
            f"{key.name}: {len(not_owed):,} {were} not owed, because no limit was used up; the first after {first:.1f} s", key.name
        )


def _headers_of_key(ledgers: Ledgers, started: float) -> Iterator[Problem]:
    checks: tuple[Callable[[], Iterator[tuple[Request, str]]], ...] = (ledgers.false_remaining, ledgers.false_retry_after)
    for check in checks:
        found = list(check())
        for request, text in islice(found, 1):
            more = f" (and {counted(len(found) - 1, 'more response')})" if len(found) > 1 else ""
            yield Problem(f"{ledgers.key.name}: wrong header after {request.sent - started:.1f} s: {text}{more}", ledgers.key.name)


def _of_all(requests: Sequence[Request], thresholds: Thresholds) -> Iterator[Problem]:
    failed = [each for each in requests if each.failed]
    if len(failed) > thresholds.max_failures:
        statuses = sorted({f"status {each.status}" if each.status else "no response" for each in failed})
        yield Problem(f"{counted(len(failed), 'request')} failed ({', '.join(statuses)}), and {thresholds.max_failures:,} may")
    if thresholds.max_p99 is not None:
        p99 = 1000 * percentile(sorted(each.seconds for each in requests if not each.unanswered), 0.99)
        if p99 > thresholds.max_p99:
            yield Problem(f"99 % of the responses took up to {p99:.0f} ms, and {thresholds.max_p99:g} ms are allowed")
    if not any(each.admitted for each in requests):
        yield Problem("inconclusive, because nothing was admitted: check the host, the path and the keys")
    elif thresholds.must_deny and not any(each.denied for each in requests):
        yield Problem("inconclusive, because nothing was denied: use a longer --run-time, or lower limits, so that a limit is reached")
