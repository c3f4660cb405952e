"""Rate limits for web frameworks, without a sidecar.

`core` decides; each other module adapts it to one framework, and only that module imports the framework. To see how, read `core` and then
`wsgi` or `asgi`.
"""

from limiter.web.core.rate_limit import RateLimit, Response, digest
from limiter.web.core.ruling import Denial

__all__ = ["Denial", "RateLimit", "Response", "digest"]
