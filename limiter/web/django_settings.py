"""What the settings of a Django project say about limits, and what is read of its requests."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import NamedTuple, Required

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from limiter.aio import AsyncLimiter
from limiter.sync import Limiter
from limiter.web.core.admission import Admission
from limiter.web.core.declaration import Declared, Options
from limiter.web.core.ruling import Denial
from limiter.web.wsgi import forwarded_for, peer_of

OnDenied = Callable[[HttpRequest, Denial], HttpResponseBase | Awaitable[HttpResponseBase]]

# These may be written as `"package.module.function"`, because settings cannot import from most applications.
_IMPORTED = ("exempt_when", "on_decision", "on_denied")


class LimiterSettings(Options[HttpRequest], total=False):
    """`LIMITER` in the settings: the options that all integrations have, and these.

    `redis`: a URL. `limits`: the default limits. `prefix` and `deadline`: as of a Limiter. `on_denied` gets the request and the denial, and
    returns the response; the headers are added to it. `exempt_when`, `on_decision` and `on_denied` may be import paths.
    """

    redis: Required[str]
    limits: Declared[HttpRequest]
    prefix: str
    deadline: float
    on_denied: OnDenied | str


class DjangoFacts:
    __slots__ = ("request",)

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    @property
    def method(self) -> str:
        return self.request.method or ""

    @property
    def paths(self) -> tuple[str]:
        return (self.request.path,)

    @property
    def peer(self) -> str:
        return peer_of(self.request.META)

    @property
    def forwarded_for(self) -> str:
        return forwarded_for(self.request.META)


class Installed(NamedTuple):
    """What the settings say."""

    limiter: Limiter
    make_async_limiter: Callable[[], AsyncLimiter]
    by_loop: dict[asyncio.AbstractEventLoop, AsyncLimiter]
    admission: Admission[HttpRequest]
    on_denied: OnDenied | None

    @property
    def async_limiter(self) -> AsyncLimiter:
        """Servers have one event loop. Tests have many."""
        loop = asyncio.get_running_loop()
        found = self.by_loop.get(loop)
        if found is None:
            for ended in [each for each in self.by_loop if each.is_closed()]:
                del self.by_loop[ended]
            found = self.by_loop[loop] = self.make_async_limiter()
        return found


# Invalidated when a test overrides the settings.
@lru_cache(maxsize=1)
def installed() -> Installed:
    written = getattr(settings, "LIMITER", None)
    if not isinstance(written, dict) or not isinstance(written.get("redis"), str):
        # Without the value, which may have a password in it.
        raise ImproperlyConfigured("LIMITER must be a dict with a URL as 'redis', such as {'redis': 'redis://localhost'}")
    for key in written.keys() - LimiterSettings.__annotations__.keys() - Options.__annotations__.keys():
        raise ImproperlyConfigured(f"LIMITER must have the keys of limiter.web.django.LimiterSettings, not {key!r}")
    given = {key: import_string(value) if key in _IMPORTED and isinstance(value, str) else value for key, value in written.items()}
    client = {key: given.pop(key) for key in ("prefix", "deadline") if key in given}
    source, limits, on_denied = given.pop("redis"), given.pop("limits", ()), given.pop("on_denied", None)
    limiter = Limiter(source, **client)
    admission = Admission(limits, prefix=limiter.settings.prefix, **given)
    return Installed(limiter, partial(AsyncLimiter, source, **client), {}, admission, on_denied)


def _forget(*, setting: str, **_: object) -> None:
    if setting == "LIMITER" and installed.cache_info().currsize:
        installed().limiter.close()
        installed.cache_clear()


setting_changed.connect(_forget)
