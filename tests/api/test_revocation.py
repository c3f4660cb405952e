"""Three sidecars under load: a revocation or a downgrade takes effect on all of them with the next request."""

import time

from support.load import load
from support.servers.provider import Provider, running_provider
from support.waiting import eventually

CONFIG = """
policies:
  small: { limits: [1000000/minute] }
  large: { limits: [2000000/minute] }
  enough: { limits: [1500000/minute] }
tiers:
  free: { key: large, scopes: ["files:read"] }
  pro: { key: large, scopes: ["files:read", "files:write"] }
  other: { key: small, scopes: ["files:write"] }
routes:
  - { path: /write, scope: "files:write" }
"""
RATE, SECONDS = 500, 5.0


def admitted(report, capacity, since=0.0):
    """The start times of the requests that the policy of this capacity admitted."""
    allowed = [(begun, headers["x-ratelimit-limit"]) for begun, _, status, headers in report["answers"] if status == 200]
    return [begun for begun, policy in allowed if policy == capacity and begun > since]


def test_no_request_that_starts_after_a_revocation_or_a_downgrade_is_admitted_anywhere(tmp_path, server, prefix):
    """Five seconds in real time, at 500 requests/s on each of three sidecars."""
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    a, b, c = (running_provider(folder, CONFIG, server.url, prefix) for folder in folders)
    with a as first, b as second, c as third:
        sidecars: list[Provider] = [first, second, third]
        first.account("revoked", "other")
        first.account("downgraded", "pro")
        revoked, downgraded = (first.issue(account, scopes=["files:write", "files:read"]) for account in ("revoked", "downgraded"))
        keys = [revoked["key"], downgraded["key"]]
        options = {"rate": RATE, "seconds": SECONDS, "keys": keys, "path": "/authorize/write"}
        loads = [load(url=each.sidecar.front, **options) for each in sidecars]
        with loads[0] as one, loads[1] as two, loads[2] as three:
            warm = f"/usage?policy=large&subject={downgraded['subject']}&account=downgraded"
            eventually(lambda: third.admin_json("GET", warm)["limits"][0]["remaining"] < 2_000_000 - RATE, "load on all of them")
            second.admin_json("POST", f"/accounts/revoked/keys/{revoked['id']}/revoke")
            revoked_at = time.monotonic()
            eventually(lambda: time.monotonic() - revoked_at > 1, "a second of load after the revocation")
            third.admin_json("PATCH", "/accounts/downgraded", {"tier": "free"})
            downgraded_at = time.monotonic()
            reports = [running.report() for running in (one, two, three)]
    for report in reports:
        assert report["lost"] == []
        assert len(report["answers"]) >= RATE * SECONDS * 0.9
        assert admitted(report, "1000000")
        assert admitted(report, "1000000", revoked_at) == []
        assert admitted(report, "2000000", revoked_at), "the key that was not revoked is admitted"
        assert admitted(report, "2000000", downgraded_at) == []
        # Both keys are refused, and the refusals of a loop run into 429.
        assert {status for begun, _, status, _ in report["answers"] if begun > revoked_at} >= {401, 403}
        assert {status for begun, _, status, _ in report["answers"] if begun > downgraded_at} <= {401, 403, 429}
