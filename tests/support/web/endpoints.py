"""The limits of the endpoints that the application of each framework has.

/plain sets headers of its own, /status/N responds with that status, /stream streams, /fail raises, /exempt has no default limits. The
others have these limits.
"""

from limiter import Policy

SHARED = Policy("shared", ["2/minute"])


def user(request):
    return request.headers.get("x-user")


def cost(request):
    return int(request.headers.get("x-cost"))


def has_no_error(response):
    return response.status < 400


LIMITS = {
    "/search": {"policy": "2/minute", "subject": "everyone"},
    "/priced": {"policy": "10/minute", "subject": user, "cost": cost, "name": "priced"},
    "/post": {"policy": "1/minute", "methods": ["POST"], "name": "post"},
    "/a": {"policy": SHARED},
    "/b": {"policy": SHARED},
    "/login": {"policy": "2/minute", "refund_when": has_no_error, "name": "login"},
    "/class": {"policy": "2/minute"},
    "/hidden": {"policy": "1/minute"},
    "/twice": {"policy": "5/minute"},
}

OWN_HEADERS = {"X-RateLimit-Limit": "mine", "x-ratelimit-remaining": "mine", "X-Own": "kept"}

PARTS = [b"one ", b"two ", b"three"]


def hiding(function):
    """A decorator that does not use functools.wraps."""

    def hidden(*args, **kwargs):
        return function(*args, **kwargs)

    return hidden
