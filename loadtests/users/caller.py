"""A Locust user that sends requests with one API key, when the shape of the test says so."""

from __future__ import annotations

from typing import Any

import gevent
from gevent.event import Event
from gevent.pool import Pool
from locust import FastHttpUser, constant, task

from users import session, stated
from users.plan import Defaults, over_limit
from users.shapes import volleys


class Caller(FastHttpUser, Defaults):
    """Requests are recorded at the moment before they are sent and the moment after their response was read."""

    abstract = True
    wait_time = constant(0)
    # The number of connections, which limits the requests in flight.
    concurrency = 30
    network_timeout = 10.0

    def on_start(self) -> None:
        self._session = session.current()
        self._plan = self._session.plan_of(type(self))
        self._key, traffic = self._session.next_key(type(self), self._plan)
        self._headers = self._plan.headers_of(self._key)
        self._volleys = self._session.bounded(volleys(self._session.shape, traffic))
        self._pool = Pool(self.concurrency)

    @task
    def volley(self) -> None:
        """Does not wait for responses, so that a slow server does not slow the test down before all connections are in use."""
        volley = next(self._volleys, None)
        if volley is None:
            self._pool.join()
            self._session.end_of_user()
            # Locust would replace a user that stops while others are still to be spawned. The last one ends the test.
            Event().wait()
        at, count = volley
        gevent.sleep(max(0.0, at - self._session.now()))
        for _ in range(count):
            self._pool.spawn(self._ask)

    def _ask(self) -> None:
        recorder, plan = self._session.recorder, self._plan
        if recorder.closed:
            return
        request = recorder.begin(self._key.name, f"{plan.method} {plan.path}")
        with self.client.request(plan.method, plan.path, headers=self._headers, catch_response=True) as response:
            headers, status = response.headers or {}, response.status_code
            request.retry_after = stated.retry_after(headers, self._session.now())
            request.capacity = stated.stated_capacity(headers)
            request.remaining = stated.remaining(headers, self._session.limits)
            recorder.end(request, 429 if status == plan.denied_status else status)
            self._report(response, status)

    def _report(self, response: Any, status: int) -> None:
        """A denial counts as a success until the judgement at the end, as only that knows the requests of all workers."""
        if status == self._plan.denied_status:
            response.request_meta["name"] = over_limit(self._plan.path)
            response.success()
        elif not 200 <= status < 400:
            response.failure(f"status {status}")
