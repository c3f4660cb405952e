"""How the sidecar stops: in steps, so that no request is lost behind a load balancer.

1. The first SIGTERM or SIGINT. `/readyz` answers 503 from now on. The listeners go on as before for the shutdown delay, in which load
   balancers look at `/readyz` and send their requests elsewhere.
2. The front refuses new connections, and the requests in flight have the drain time. Their answers close the connections.
3. What is left is cut off. The second signal leads here at once.
"""

import asyncio
import signal
from collections.abc import Callable

import structlog

from limiter.api.rules import Rules, Shutdown
from limiter.api.settings.serve_options import ServeOptions

_log = structlog.get_logger("limiter.serve")


def shutdown_of(options: ServeOptions, rules: Rules) -> Shutdown:
    """What the options say, and otherwise the configuration in force."""
    of_file = rules.shutdown
    delay = of_file.delay if options.shutdown_delay is None else options.shutdown_delay
    return Shutdown(delay, of_file.drain if options.drain_time is None else options.drain_time)


class Signals:
    """Create it in the task that serves: the second signal cancels this task."""

    def __init__(self, reload: Callable[[], None]) -> None:
        self.ready = self.is_urgent = False
        self._stopping = asyncio.Event()
        self._main = asyncio.current_task()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, reload)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)

    @property
    def are_stopping(self) -> bool:
        return self._stopping.is_set()

    async def wait(self, delay: Callable[[], float]) -> None:
        """Returns when the front has to stop: `delay()` seconds after the first signal."""
        await self._stopping.wait()
        if seconds := delay():
            _log.info("stopping: not ready, still accepting connections", shutdown_delay=seconds)
            await asyncio.sleep(seconds)

    def _stop(self) -> None:
        if not self._stopping.is_set():
            self._stopping.set()
        elif self._main is not None:
            _log.warning("second signal: stopping at once, requests in flight are cut off")
            self.is_urgent = True
            self._main.cancel()
