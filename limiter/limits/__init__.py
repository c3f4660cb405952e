"""The kinds of limit: `SlidingWindow`, `TokenBucket` and `Quota`. Each has a file here, and a Lua file of the same name that decides."""

from limiter.limits.quota import Quota
from limiter.limits.sliding_window import SlidingWindow
from limiter.limits.token_bucket import TokenBucket

Limit = SlidingWindow | TokenBucket | Quota

__all__ = ["Limit", "Quota", "SlidingWindow", "TokenBucket"]
