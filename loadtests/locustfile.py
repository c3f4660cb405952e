"""Sends requests with API keys to a sidecar, or to any API that limits them, and judges from outside whether the limits are held.

    locust -f loadtests/locustfile.py --headless --host http://127.0.0.1:8080 --keys keys.txt --limits 100/minute --run-time 3m --users 10

docs/load-tests.md explains the options. Exit code 0: the limits were held, and no threshold was passed.
"""

from users.caller import Caller


class Client(Caller):
    """Takes everything from the options."""
