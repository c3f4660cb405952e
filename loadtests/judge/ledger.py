"""All requests of one key, judged by the limits of the key and of the account that owns it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from judge.buckets import BucketJudge
from judge.quotas import QuotaJudge
from judge.requests import DRIFT, Breach, Judge, Request
from judge.windows import WindowJudge
from limiter import Quota, SlidingWindow
from limiter.limits import Limit

# Retry-After is rounded up to whole seconds.
_ROUNDED_UP = 1.0
_ROUNDING = 1e-3


def judge_of(limit: Limit, requests: Sequence[Request], tolerance: float = 0.0) -> Judge:
    if isinstance(limit, SlidingWindow):
        return WindowJudge(limit, requests)
    return QuotaJudge(limit, requests, tolerance) if isinstance(limit, Quota) else BucketJudge(limit, requests)


@dataclass(frozen=True)
class Ledger:
    """`limits` apply to `requests` together: those of a key, or those of all keys of an account."""

    name: str
    limits: Sequence[Limit]
    requests: Sequence[Request]
    tolerance: float = 0.0
    judges: Sequence[Judge] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "judges", [judge_of(limit, self.requests, self.tolerance) for limit in self.limits])

    def breaches(self) -> Iterator[Breach]:
        """The worst breach of each limit that was exceeded."""
        yield from (found for judge in self.judges if (found := judge.breach()))

    def may_deny(self, denied: Request) -> bool:
        return any(judge.may_be_exhausted(denied) for judge in self.judges)


@dataclass(frozen=True)
class Ledgers:
    """What a request of a key is charged to. Without limits of the account, that is the key alone."""

    key: Ledger
    account: Ledger | None = None

    @property
    def both(self) -> Sequence[Ledger]:
        return (self.key, self.account) if self.account else (self.key,)

    def denials_not_owed(self) -> list[Request]:
        return [each for each in self.key.requests if each.denied and not any(ledger.may_deny(each) for ledger in self.both)]

    def false_remaining(self) -> Iterator[tuple[Request, str]]:
        """Responses that state more than can have been left."""
        judges = [judge for ledger in self.both for judge in ledger.judges]
        for each in self.key.requests:
            for judge, stated in zip(judges, each.remaining, strict=False):
                if not math.isnan(stated) and stated > (most := math.floor(judge.most_left(each) + _ROUNDING)):
                    yield each, f"{stated:.0f} of {judge.capacity} were stated to remain, when at most {max(0, most)} can have remained"

    def false_retry_after(self) -> Iterator[tuple[Request, str]]:
        """Denials after the time that an earlier denial stated, and admissions more than a second before it.

        The first proves an error only if the client is alone: nothing can have been admitted between the two denials.
        """
        yield from self._too_short()
        yield from self._too_long()

    def _too_short(self) -> Iterator[tuple[Request, str]]:
        charged = sorted((each for each in self.both[-1].requests if not each.denied), key=lambda each: each.sent)
        starts = [each.sent for each in charged]
        last_ends = list(accumulate((each.received for each in charged), max))
        waiting: list[Request] = []
        for each in sorted((each for each in self.key.requests if each.denied), key=lambda each: each.received):
            before = bisect_right(starts, each.received)
            waiting = [denied for denied in waiting if not before or denied.sent > last_ends[before - 1]]
            if waited := next((denied for denied in waiting if denied.received + denied.retry_after * (1 + DRIFT) <= each.sent), None):
                seconds = each.sent - waited.received
                yield each, f"Retry-After was {waited.retry_after:g} s, but after {seconds:.1f} s a lone client was denied again"
            waiting.append(each)

    def _too_long(self) -> Iterator[tuple[Request, str]]:
        admitted = sorted((each for each in self.key.requests if each.admitted), key=lambda each: each.sent)
        starts = [each.sent for each in admitted]
        for denied in (each for each in self.key.requests if each.denied):
            place = bisect_right(starts, denied.received)
            waited = admitted[place].received - denied.sent if place < len(admitted) else math.inf
            if waited < denied.retry_after * (1 - DRIFT) - _ROUNDED_UP - _ROUNDING:
                yield denied, f"Retry-After was {denied.retry_after:g} s, but a request was admitted after {waited:.1f} s"
