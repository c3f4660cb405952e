"""A running example of a provider: `limiter serve` with its configuration, its control plane, and its users."""

import http.client
import json
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.servers.sidecar import TOKEN, Reply, Sidecar, ask, sidecar
from support.waiting import eventually

EXAMPLES = Path(__file__).parents[3] / "examples"
CLIENT = "192.0.2.1"


class Provider:
    """`headers` are added to each request, as by the gateway before the sidecar."""

    def __init__(self, running: Sidecar, headers=None) -> None:
        self.sidecar, self._headers = running, {"X-Forwarded-For": CLIENT, **(headers or {})}

    def call(self, path: str, key: str | None = None, *, method: str = "GET", address: str | None = None, headers=None) -> Reply:
        sent = {**self._headers, **({"X-Forwarded-For": address} if address else {}), **(headers or {})}
        return self.sidecar.ask(f"/authorize{path}", method=method, key=key, headers=sent)

    def admin(self, method: str, path: str, body=None) -> Reply:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        return ask(self.sidecar.admin, path, method, headers, None if body is None else json.dumps(body))

    def admin_json(self, method: str, path: str, body=None) -> dict:
        reply = self.admin(method, path, body)
        assert reply.status in (200, 201), reply.body
        return reply.json()

    def account(self, name: str, tier: str) -> None:
        self.admin_json("POST", "/accounts", {"id": name, "tier": tier})

    def issue(self, account: str, **asked) -> dict:
        return self.admin_json("POST", f"/accounts/{account}/keys", asked)

    def statuses(self, count: int, path: str, key: str | None = None, **asked) -> list[int]:
        return [self.call(path, key, **asked).status for _ in range(count)]

    def update_clock(self, account: str) -> None:
        """Uses a new key, so that the sidecar reads its record and, with it, Redis's clock."""
        key = self.issue(account)["key"]
        self.call("/", key)

    def refusals(self, account: str, count: int) -> list[dict]:
        """Waits for that many refusals in the audit, which are written every few seconds."""

        def written():
            entries = self.admin_json("GET", f"/audit?refused=true&account={account}")["entries"]
            return entries if len(entries) >= count else None

        return eventually(written, "the refusals of the audit")

    def over_tls(self, path: str, key: str, chain: Path, most: str = "TLSv1_3") -> int | None:
        """Returns the status, or None if the handshake fails."""
        context = ssl.create_default_context(cafile=chain)
        # The client must not refuse the connection by its own security defaults.
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion[most]
        connection = http.client.HTTPSConnection("127.0.0.1", self.sidecar.port, timeout=20, context=context)
        try:
            connection.request("GET", f"/authorize{path}", headers={"Authorization": f"Bearer {key}"})
            return connection.getresponse().status
        except ssl.SSLError:
            return None
        finally:
            connection.close()


def example(name: str, *replaced: tuple[str, str]) -> str:
    """The text of an example, with the given replacements."""
    text = (EXAMPLES / f"{name}.yaml").read_text()
    for old, new in replaced:
        assert old in text, f"the example must contain {old!r}"
        text = text.replace(old, new)
    return text


@contextmanager
def running_provider(folder: Path, text: str, redis: str, prefix: str, *arguments: str, headers=None, env=None) -> Iterator[Provider]:
    """Runs an example, with a separate prefix and a deadline long enough for a busy machine."""
    with sidecar(folder, f"{text}\nredis: {{ prefix: {prefix}, deadline: 5s }}\n", *arguments, redis=redis, env=env) as running:
        yield Provider(running, headers)
