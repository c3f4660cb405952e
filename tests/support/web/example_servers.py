"""The examples for frameworks on their real servers, as processes."""

import http.client
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.servers.file_servers import running
from support.servers.redis_server import free_port
from support.web.reply import Reply, reply

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "frameworks"

# A deadline that a busy machine keeps, as an example has only the URL of its Redis.
PATIENCE = """
from limiter import AsyncLimiter, Limiter

for each in (AsyncLimiter, Limiter):
    each.__init__.__kwdefaults__["deadline"] = 10.0
"""


def environment(folder: Path, redis_url: str) -> dict[str, str]:
    (folder / "sitecustomize.py").write_text(PATIENCE)
    return {"REDIS_URL": redis_url, "PYTHONPATH": os.pathsep.join(map(str, (folder, ROOT, EXAMPLES))), "PYTHONDONTWRITEBYTECODE": "1"}


@contextmanager
def example(folder: Path, redis_url: str, *command: str) -> Iterator[int]:
    """The port of a server: `{port}` in the command, and PORT in the environment."""
    port = free_port()
    listening = [sys.executable, *(part.format(port=port) for part in command)]
    with running(listening, port, PORT=str(port), **environment(folder, redis_url)):
        yield port


def get(port: int, target: str, method: str = "GET", **headers: str) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answered = connection.getresponse()
        return reply(answered.status, answered.getheaders(), answered.read())
    finally:
        connection.close()
