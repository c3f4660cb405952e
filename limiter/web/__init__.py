"""Rate limits for web frameworks, without a sidecar.

Read in this order: `rate_limit` (what an application declares), `admission` (which limits apply to a request, decided at once), `ruling`
(the response to a denial, the headers, refunds), `marks` (limits of an endpoint), and one framework, such as `asgi`. Only that module
imports the framework.
"""

from limiter.web.rate_limit import RateLimit, Response, digest
from limiter.web.ruling import Denial

__all__ = ["Denial", "RateLimit", "Response", "digest"]
