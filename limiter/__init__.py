"""A Redis-backed rate limiter and quota enforcer: one atomic decision over all limits of a request.

To follow one decision and one HTTP request, read four files in this order: `limiter/verbs.py` (what a caller asks),
`limiter/protocol/call.py` (how a call is encoded and its reply decoded), `lua/take.lua` (how Redis decides) and `api/front.py` (how the
sidecar turns a request into a decision, and a decision into a response).
"""

from limiter.aio import AsyncLimiter
from limiter.charge import Charge, Subject
from limiter.decision import Decision, LimitExceeded, LimitState
from limiter.decorator import current_decision
from limiter.errors import BackendError, BackendTimeout, InvalidPolicy, LimiterError
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
