"""Logs the start and the end of an outage of Redis. A line for each request would fill the disk."""

import structlog

from limiter.errors import ACCESS_DENIED

_log = structlog.get_logger("limiter.engine")


# An outage can turn into a worse one: a Redis that comes back may have another password.
_ANSWERS, _AWAY, _DENIES = range(3)


class Outages:
    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = _ANSWERS

    def note(self, reason: str) -> None:
        """Call it with each decision's `degraded`, which is empty if Redis made the decision."""
        state = (_DENIES if reason.startswith(ACCESS_DENIED) else _AWAY) if reason else _ANSWERS
        if state == self._state or _ANSWERS < state < self._state:
            return
        self._state = state
        if state == _DENIES:
            _log.error(f"{ACCESS_DENIED}: requests follow the failure modes of their policies", reason=reason)
        elif state == _AWAY:
            _log.warning("Redis does not answer: requests follow the failure modes of their policies", reason=reason)
        else:
            _log.info("Redis answers again")
