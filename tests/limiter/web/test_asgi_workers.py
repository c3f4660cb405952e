"""Several processes of one application on uvicorn, started as a user starts them."""

import os
import signal
import subprocess
import sys

import httpx2

from support.pages import ROOT
from support.servers.redis_server import free_port
from support.waiting import eventually

SHOP = """
import os
from fastapi import FastAPI
from limiter import AsyncLimiter
from limiter.web.fastapi import limit_app

app = FastAPI()
limit_app(app, AsyncLimiter(os.environ["REDIS_URL"], prefix=os.environ["PREFIX"], deadline=10), "20/hour")


@app.get("/")
async def pid() -> int:
    return os.getpid()
"""


def test_workers_share_the_counts_and_a_killed_one_loses_none(server, prefix, tmp_path):
    (tmp_path / "shop.py").write_text(SHOP)
    url = f"http://127.0.0.1:{(port := free_port())}/"
    command = [sys.executable, "-m", "uvicorn", "shop:app", "--workers", "2", "--port", str(port), "--log-level", "critical"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "REDIS_URL": server.url, "PREFIX": prefix}

    def left() -> tuple[int, int] | None:
        """The worker that answers on a new connection, and the units that are left."""
        try:
            response = httpx2.get(url, timeout=30)
        except httpx2.TransportError:
            return None
        return int(response.text), int(response.headers["x-ratelimit-remaining"])

    with subprocess.Popen(command, cwd=tmp_path, env=environment) as process:
        try:
            first, units = eventually(left, "a worker answers")
            assert units == 19
            os.kill(first, signal.SIGKILL)
            second, units = eventually(left, "another worker answers")
            assert (second != first, units) == (True, 18)
        finally:
            process.send_signal(signal.SIGINT)
