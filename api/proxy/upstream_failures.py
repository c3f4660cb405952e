"""The log of an upstream that fails: at most one line a second, whatever the number of requests."""

import asyncio

import structlog

from limiter.api.proxy.proxy_errors import ProxyError

_log = structlog.get_logger("limiter.proxy")

_EVERY_S = 1.0


class UpstreamFailures:
    def __init__(self) -> None:
        self._requests = 0
        self._last: ProxyError

    def note(self, error: ProxyError) -> None:
        if not self._requests:
            asyncio.get_running_loop().call_later(_EVERY_S, self._report)
        self._requests += 1
        self._last = error

    def _report(self) -> None:
        _log.warning("the upstream fails", requests=self._requests, last=self._last.detail, error=self._last.error)
        self._requests = 0
