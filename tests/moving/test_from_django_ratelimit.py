"""Moving from django-ratelimit: its views and ours admit the same, and differ as the page says."""

import json
import subprocess
import sys

from support.moving import ACCOUNT, NOWHERE, block
from support.pages import ROOT

DJANGO = """
import sys, json, types
settings, views, url, prefix, requests = json.load(sys.stdin)
from django.conf import settings as django_settings
values = {}
exec(settings.replace("redis://localhost", url), values)
values = {name: value for name, value in values.items() if name.isupper()}
if "LIMITER" in values:
    values["LIMITER"] |= {"prefix": prefix, **({} if url.endswith(":1") else {"deadline": 10})}
django_settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF="shop", DEBUG_PROPAGATE_EXCEPTIONS=False, LOGGING_CONFIG=None, **values)
import django
django.setup()
sys.modules["shop"] = shop = types.ModuleType("shop")
exec(views, shop.__dict__)
from django.test import Client
client = Client(raise_request_exception=False)
print(json.dumps([client.generic(method, path, headers=headers).status_code for method, path, headers in requests]))
"""


def django_statuses(whose: str, url: str, prefix: str, requests: list, views: str | None = None, more: str = "") -> list[int]:
    """Settings are made once in a process, so an application has one of its own."""
    settings = block("django-ratelimit", f"{whose}, settings.py") + more
    asked = json.dumps([settings, views or block("django-ratelimit", f"{whose}, views.py"), url, prefix, requests])
    command = [sys.executable, "-c", DJANGO]
    return json.loads(subprocess.run(command, input=asked, stdout=subprocess.PIPE, text=True, check=True, timeout=60, cwd=ROOT).stdout)


def test_their_django_views_and_ours_admit_the_same(their_redis, server, prefix):
    requests = [("GET", "/search", ACCOUNT)] * 11 + [("POST", "/login", {})] * 6 + [("GET", "/login", {})]
    requests += [("GET", "/charts", {}), ("GET", "/reports", {})] * 3 + [("GET", "/charts", {})]
    for whose, url, denied in (("django-ratelimit", their_redis, 403), ("limiter", server.url, 429)):
        expected = [200] * 10 + [denied] + [200] * 5 + [denied] + [200] + [200] * 6 + [denied]
        assert django_statuses(whose, url, prefix, requests) == expected


def test_ours_in_shadow_mode_changes_nothing_beside_theirs(their_redis, prefix):
    both = block("django-ratelimit", "limiter, settings.py") + "LIMITER |= {'limits': '2/minute', 'shadow': True}\n"
    assert django_statuses("django-ratelimit", their_redis, prefix, [("GET", "/charts", {})] * 7, more=both) == [200] * 6 + [403]


def test_without_redis_their_django_views_fail_even_with_fail_open_and_ours_admit(prefix):
    chosen = {"django-ratelimit": "RATELIMIT_FAIL_OPEN = True\n", "limiter": ""}
    found = [django_statuses(whose, NOWHERE, prefix, [("GET", "/charts", {})], more=more) for whose, more in chosen.items()]
    assert found == [[500], [200]]


def test_users_count_by_their_id_and_others_by_address_in_django(server, prefix):
    views = block("django-ratelimit", "limiter, user or address")
    views += """
from types import SimpleNamespace
from django.urls import path

def asked(request):
    name = request.headers.get("x-user")
    request.user = SimpleNamespace(pk=name, is_authenticated=name is not None)
    return search(request)

urlpatterns = [path("search", asked)]
"""
    series = [*[("GET", "/search", {})] * 11, *[("GET", "/search", {"x-user": "ada"})] * 11]
    assert django_statuses("limiter", server.url, prefix, series, views) == ([200] * 10 + [429]) * 2
