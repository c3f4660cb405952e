"""Logs the start and the end of an outage of Redis. A line for each request would fill the disk."""

import structlog

from limiter.errors import ACCESS_DENIED

_log = structlog.get_logger("limiter.engine")


class Outages:
    __slots__ = ("_is_out",)

    def __init__(self) -> None:
        self._is_out = False

    def note(self, reason: str) -> None:
        """Call it with each decision's `degraded`, which is empty if Redis made the decision."""
        if bool(reason) == self._is_out:
            return
        self._is_out = not self._is_out
        if reason.startswith(ACCESS_DENIED):
            _log.error(f"{ACCESS_DENIED}: requests follow the failure modes of their policies", reason=reason)
        elif self._is_out:
            _log.warning("Redis does not answer: requests follow the failure modes of their policies", reason=reason)
        else:
            _log.info("Redis answers again")
