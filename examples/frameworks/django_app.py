"""Django: `gunicorn django_app:application`, or `uvicorn django_app:asgi_application`. Settings, views and URLs in one file."""

import os

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from limiter.web.django import LimiterSettings, rate_limit

LIMITER: LimiterSettings = {"redis": os.environ.get("REDIS_URL", "redis://localhost"), "limits": ["100/minute", "1000/hour"]}
settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["limiter.web.django.RateLimitMiddleware"],
    LIMITER=LIMITER,
)


def items(_: HttpRequest) -> JsonResponse:
    return JsonResponse(["pen", "paper"], safe=False)


@rate_limit("10/minute", cost=2)
def search(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"found": request.GET["q"]})


urlpatterns = [path("items", items), path("search", search)]
application = get_wsgi_application()
asgi_application = get_asgi_application()
