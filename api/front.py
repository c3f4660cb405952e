"""The data plane: a raw ASGI application for every request, with a fast path for most requests to `/authorize`.

Paths are relative to this folder.

    server/protocol.py             reads the request off the connection; if the front is overloaded, overload.py holds and sheds it
      |-- Front.begin              the fast path: a callback instead of a task, and no ASGI messages
      `-- Front.__call__           every other request; `/v1/` goes on to v1/decisions.py
            |
    resolve.py                     the gates, in order: original request, TLS, route, credential, identity, plan
            |-- Answer ------------------------------------------------------------------------------> send
            |-- LookUp             the key is not in memory, but exists: Directory.look_up, in one call with others that wait, then settle
            `-- Charged            what to charge; for a refused request (401, 403) one attempt of its key and of its address; for a key
                  |                that is not in memory an attempt too, under a guard that makes it Stale if the key exists
                  |
    AsyncLimiter.verdict           Redis decides, in one call with the other requests that wait; if it does not answer within the
                                   deadline, the failure modes of the policies decide
                  |-- Stale        the key exists, or it or its account has changed: forget the identity, and resolve again
                  `-- Decision
                        |
    Plan or Attempt .answer        200 or 429 with the numbers, 503 if a policy fails closed; a refused request gets its 401 or 403, or
                                   429 if its key or its address has no attempts left -> send

With a proxy, every path belongs to the upstream. A request is passed on if its answer is 200, and the response gets the numbers. Preflights
of browsers are answered before (outgoing/cors.py).

Both paths call `resolve` before the verdict and `Front.end` after it. `Front.begin` leaves the rarer outcomes, `Answer` and `LookUp`, to a
task that runs the same steps as `Front.__call__`.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol

from starlette.types import Message, Receive, Scope, Send

from limiter.aio import AsyncLimiter
from limiter.api.answers import WRITE_ANSWER, Answer, Header, problem
from limiter.api.forwarded import PREFIX, is_authorize, proxied
from limiter.api.identity import Directory
from limiter.api.numbers import unavailable
from limiter.api.outages import Outages
from limiter.api.outgoing.caller_headers import separated
from limiter.api.overload import SHED, Overload
from limiter.api.refused import Attempt
from limiter.api.resolve import Charged, LookUp, Outcome, Reader, resolve, settle
from limiter.api.rules import Rules
from limiter.api.view import View
from limiter.decision import Decision
from limiter.errors import BackendError
from limiter.protocol.call import Verdict

_OK = 200
_PREFIX = PREFIX.encode()
# Only a faulty program changes an account this often within one request.
_MAX_TRIES = 5
_CLOSE: Header = (b"connection", b"close")
_NOT_FOUND = problem(404, f"Nothing is served at this path: use {PREFIX}, or POST to /v1/take, /v1/peek or /v1/refund.")

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class RulesNow(Protocol):
    """The rules in force. Every request reads them once."""

    @property
    def rules(self) -> Rules: ...


class Proxying(Protocol):
    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, headers: Sequence[Header] = (), caller: Sequence[Header] = ()
    ) -> None: ...


class Receiver(Protocol):
    """The connection of a request on the fast path. Exactly one of these methods is called, exactly once."""

    def deliver(self, answer: Answer) -> None: ...
    def deliver_later(self, answering: Coroutine[Any, Any, Answer]) -> None: ...
    def abort(self, error: Exception) -> None: ...


class Front:
    """`directory_of` creates the directory for a set of rules. `decisions` is the application below `/v1/`."""

    def __init__(
        self,
        watched: RulesNow,
        limiter: AsyncLimiter,
        directory_of: Callable[[Rules], Directory] = Directory,
        *,
        decisions: Application | None = None,
        proxy: Proxying | None = None,
    ) -> None:
        self._watched, self._limiter, self._directory_of = watched, limiter, directory_of
        self._decisions, self._proxy = decisions, proxy
        self._view = self._view_of(watched.rules)
        self._outages, self.overload = Outages(), Overload(limiter.backlog, limiter.settings.deadline / 2)
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.overload.is_full:
            await self.shed(scope["path"].encode(), scope["headers"]).send(scope, send)
            return
        if self.draining:
            scope.pop(WRITE_ANSWER, None)
            send = _closing(send)
        if self._proxy is not None:
            await self._pass_on(self._proxy, scope, receive, send)
        elif is_authorize(scope):
            await (await self.authorize(self._current_view(), scope)).send(scope, send)
        elif self._decisions is not None and (scope["path"] + "/").startswith("/v1/"):
            await self._decisions(scope, receive, send)
        else:
            await _NOT_FOUND.send(scope, send)

    def begin(self, scope: Scope, receiver: Receiver) -> bool:
        """The fast path. Returns False if the request needs `__call__`."""
        if self._proxy is not None or self.draining or not is_authorize(scope):
            return False
        view = self._current_view()
        outcome = resolve(view, scope, view.original)
        if isinstance(outcome, Charged):
            place = _Place(self, scope, outcome, receiver)
            self._limiter.verdict_to(place, outcome.group, view.rules.deadline)
        else:
            receiver.deliver_later(self.authorize(view, scope, outcome))
        return True

    def shed(self, target: bytes, headers: Sequence[Header] = ()) -> Answer:
        """Counts a request that is shed. Returns its answer."""
        self.overload.note()
        if self._proxy is None and target.startswith(_PREFIX):
            return _finished(self._view, {"headers": headers}, SHED)
        cors = self._view.rules.cors
        return SHED if cors is None else cors.readable(headers, SHED)

    async def authorize(self, view: View, scope: Scope, outcome: Outcome | None = None, *, presume: bool = True) -> Answer:
        """`outcome`, if the request is resolved already. Without `presume`, a key that is not in memory is looked up."""
        return _finished(view, scope, await self._answer(view, scope, view.original, outcome, presume=presume))

    def end(self, charged: Charged, outcome: Verdict | BackendError) -> Answer | None:
        """None if the identity was out of date. It is forgotten, so the request can be resolved again."""
        if isinstance(outcome, BackendError):
            return self._unavailable(outcome)
        view, _, plan, identity, address, presumed = charged
        attempt = plan if isinstance(plan, Attempt) else None
        if not isinstance(outcome, Decision) or (attempt is not None and attempt.is_early(outcome)):
            if identity is not None:
                view.directory.forget(identity)
            return None
        self._outages.note(outcome.degraded)
        if attempt is not None:
            if presumed and outcome.degraded:
                # The key may be valid.
                return unavailable()
            view.directory.count_refusal(attempt.refusal, address)
            return attempt.answer(outcome)
        answer, caller_headers = plan.answer(outcome), view.rules.caller_headers
        if caller_headers is None or identity is None or not outcome.allowed:
            return answer
        return caller_headers.stated(identity.caller, answer)

    def _unavailable(self, error: BackendError) -> Answer:
        """503, for failed lookups. Decisions do not raise here, because every policy of a configuration has a failure mode."""
        self._outages.note(str(error))
        return unavailable()

    async def _pass_on(self, proxy: Proxying, scope: Scope, receive: Receive, send: Send) -> None:
        view = self._current_view()
        cors, caller_headers = view.rules.cors, view.rules.caller_headers
        preflight = cors.preflight(scope["method"], scope["headers"]) if cors is not None else None
        if preflight is not None:
            await preflight.send(scope, send)
            return
        answer = await self._answer(view, scope, proxied)
        if answer.status != _OK:
            await (answer if cors is None else cors.readable(scope["headers"], answer)).send(scope, send)
            return
        if cors is not None:
            send = cors.passing(scope["headers"], send)
        if caller_headers is None:
            await proxy(scope, receive, send, answer.headers)
        else:
            of_caller, numbers = separated(caller_headers.signed(answer, scope["method"], scope["raw_path"].decode("latin-1")).headers)
            await proxy(scope, receive, send, numbers, of_caller)

    async def _answer(self, view: View, scope: Scope, read: Reader, outcome: Outcome | None = None, *, presume: bool = True) -> Answer:
        for _ in range(_MAX_TRIES):
            outcome = outcome or resolve(view, scope, read, presume=presume)
            try:
                answer = await self._try_answer(view, outcome)
            except BackendError as error:
                return self._unavailable(error)
            if answer is not None:
                return answer
            outcome, presume = None, False
        return unavailable()

    async def _try_answer(self, view: View, outcome: Outcome) -> Answer | None:
        if isinstance(outcome, LookUp):
            found = await view.directory.look_up(outcome.credential, outcome.route.scope, outcome.address)
            outcome = settle(view, outcome.route, outcome.address, found)
        if isinstance(outcome, Answer):
            return outcome
        return self.end(outcome, await self._limiter.verdict(outcome.group, view.rules.deadline))

    def _current_view(self) -> View:
        rules = self._watched.rules
        if rules is not self._view.rules:
            self._view = self._view_of(rules)
        return self._view

    def _view_of(self, rules: Rules) -> View:
        return View(rules, self._directory_of(rules), self._limiter.settings.prefix)


class _Place:
    """Where the batcher puts the verdict of a request on the fast path.

    It must not raise, because other requests of the batch are still to be delivered.
    """

    __slots__ = ("_charged", "_front", "_is_done", "_receiver", "_scope")

    def __init__(self, front: Front, scope: Scope, charged: Charged, receiver: Receiver) -> None:
        self._front, self._scope, self._charged, self._receiver = front, scope, charged, receiver
        self._is_done = False

    def done(self) -> bool:
        return self._is_done

    def set_result(self, outcome: Verdict | BackendError) -> None:
        self._is_done = True
        front, view = self._front, self._charged.view
        try:
            answer = front.end(self._charged, outcome)
            if answer is None:
                self._receiver.deliver_later(front.authorize(view, self._scope, presume=False))
            else:
                self._receiver.deliver(_finished(view, self._scope, answer))
        except Exception as error:  # noqa: BLE001 - the receiver logs it
            self._receiver.abort(error)

    # Results and errors take the same way.
    set_exception = set_result


def _finished(view: View, scope: Scope, answer: Answer) -> Answer:
    """The answer for a gateway."""
    return answer if view.finish is None else view.finish(scope, answer)


def _closing(send: Send) -> Send:
    """Ends the connection with the answer, so that the client opens the next one elsewhere."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], _CLOSE]}
        await send(message)

    return sending
