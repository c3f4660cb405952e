"""A Redis-backed rate limiter and quota enforcer: one atomic decision over all limits of a request.

The order to read in: `limits`, `policy`, `charge`, `decision` (what there is); `../lua/take.lua` and the kinds beside it (how it is
decided); `protocol` and `conversation` (what is said to Redis, without any input or output); `sync` and `aio` (who says it).
"""

from limiter.aio import AsyncLimiter
from limiter.charge import Charge
from limiter.decision import Decision, LimitState
from limiter.errors import BackendError, BackendTimeout, InvalidPolicy, LimiterError, LimitExceeded
from limiter.limits import Limit, Quota, SlidingWindow, TokenBucket
from limiter.policy import Policy
from limiter.sync import Limiter
from limiter.text import parse_limit

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
