"""A Redis-backed rate limiter and quota enforcer: one atomic decision over all limits of a request.

Read these four files to follow one decision: `limiter/policy.py` (what is enforced), `limiter/protocol/call.py` (how a call is encoded
and its reply decoded), `lua/take.lua` (how it is decided) and `limiter/aio.py` (who asks).
"""

from limiter.aio import AsyncLimiter
from limiter.charge import Charge
from limiter.decision import Decision, LimitExceeded, LimitState
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
    "TokenBucket",
    "parse_limit",
]
