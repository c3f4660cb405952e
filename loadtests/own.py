"""The users of `make load`: half of them ask /authorize of one sidecar, the others send to a second one, which is a proxy.

`load.py` starts both and puts their URLs into two variables.
"""

import os

from users.caller import Caller


class Authorize(Caller):
    host = os.environ.get("LIMITER_LOAD_AUTHORIZE")
    forward_auth, path = "none", "/items"


class Proxy(Caller):
    host = os.environ.get("LIMITER_LOAD_PROXY")
    path = "/items"
