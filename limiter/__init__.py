"""A Redis-backed rate limiter and quota enforcer: one atomic decision over all limits of a request.

To follow one decision and one HTTP request, read four files in this order: `limiter/verbs.py` (what a caller asks),
`limiter/protocol/call.py` (how a call is encoded and its reply decoded), `lua/take.lua` (how Redis decides) and `api/front.py` (how the
sidecar turns a request into a decision, and a decision into a response). The folders api/ and lua/ are its packages
limiter.api and limiter.lua.

Between the first two files, a client carries the group of charges to Redis. `Limiter` is for threads: it sends each group in a call of its
own, on an idle connection or a new one. `AsyncLimiter` hands groups to a batcher: at most two calls are in flight, and groups that arrive
meanwhile share the next one, up to 128 of them. In both, a conversation sends the call. If Redis does not have the script (NOSCRIPT),
nothing was charged, and the whole call is sent again with the source. If Redis's time is outside the calendar periods that a quota sent,
only the groups with that quota were left undecided and uncharged, and only these are sent again. If Redis fails or is silent for longer
than the deadline, the failure mode of the strictest policy makes the decision, or the error is raised.
"""

from limiter.aio import AsyncLimiter
from limiter.charge import Charge, Subject
from limiter.decision import Decision, LimitExceeded, LimitState
from limiter.decorator import current_decision
from limiter.errors import BackendError, BackendTimeout, IdempotencyConflict, InvalidPolicy, LimiterError
from limiter.limits import Limit, Quota, SlidingWindow, TokenBucket
from limiter.limits.text import parse_limit
from limiter.policy import Policy
from limiter.sync import Limiter

__all__ = [
    "AsyncLimiter",
    "BackendError",
    "BackendTimeout",
    "Charge",
    "Decision",
    "IdempotencyConflict",
    "InvalidPolicy",
    "Limit",
    "LimitExceeded",
    "LimitState",
    "Limiter",
    "LimiterError",
    "Policy",
    "Quota",
    "SlidingWindow",
    "Subject",
    "TokenBucket",
    "current_decision",
    "parse_limit",
]
