"""Users of the APIs whose limits the examples enforce. Each takes its limits from the example, by `--tier`.

locust -f loadtests/providers.py Deframe --headless --host http://127.0.0.1:8080 --keys keys.txt --run-time 3m --users 10
"""

from pathlib import Path

from users.caller import Caller

_EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
_OVER_TLS = {"X-Forwarded-Proto": "https"}


class Deframe(Caller):
    sidecar_config, tier = _EXAMPLES / "deframe.yaml", "standard"
    key_header = "x-api-key"
    forward_auth, path = "envoy", "/v1/positions/7"


class FileForge(Caller):
    """A daily quota per account, so name the account of each key."""

    sidecar_config, tier = _EXAMPLES / "fileforge.yaml", "pro"
    forward_auth, path = "envoy", "/v1/files/7"


class FormFlow(Caller):
    sidecar_config, tier = _EXAMPLES / "formflow.yaml", "standard"
    forward_auth, path = "envoy", "/v1/forms/7"


class FrameFlow(Caller):
    """Plaintext is refused, so the gateway reports that its client used TLS."""

    sidecar_config, tier = _EXAMPLES / "frameflow.yaml", "standard"
    forward_auth, path, headers = "envoy", "/v1/assets/7", _OVER_TLS


class Gateway(Caller):
    """The sidecar is the proxy. Tenants share a limit among their keys, so name the account of each key."""

    sidecar_config, tier = _EXAMPLES / "gateway.yaml", "standard"
    path = "/items"
