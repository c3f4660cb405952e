"""Says once that Redis does not decide, and once that it does again: a line for each request would fill the disk as well."""

from __future__ import annotations

import structlog

_log = structlog.get_logger("limiter.engine")


class Outages:
    __slots__ = ("_on",)

    def __init__(self) -> None:
        self._on = False

    def saw(self, trouble: str) -> None:
        """What a decision says of its engine: empty where all is well."""
        if bool(trouble) == self._on:
            return
        self._on = not self._on
        if self._on:
            _log.warning("Redis does not decide: requests are answered by their policies' failure modes", reason=trouble)
        else:
            _log.info("Redis decides again")
