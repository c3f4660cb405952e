"""A real nginx that asks the sidecar about each request by `auth_request`, and also plays the API behind it."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.servers.redis_server import free_port
from support.servers.sidecar import ask

CONFIG = """
daemon off;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
  {guard}
  server {{
    listen 127.0.0.1:{api};
    location / {{ return 200 "the api"; }}
  }}
}}
"""

# The configuration that the documentation shows.
GUARD = Path(__file__).parents[3] / "examples" / "nginx.conf"


@contextmanager
def nginx(folder: Path, front: str) -> Iterator[str]:
    """Yields the URL for clients."""
    port, api = free_port(), free_port()
    (folder / "tmp").mkdir()
    guard = GUARD.read_text().replace("127.0.0.1:8080", front.partition("://")[2]).replace("127.0.0.1:9000", f"127.0.0.1:{api}")
    (folder / "nginx.conf").write_text(CONFIG.format(guard=guard.replace("listen 80;", f"listen 127.0.0.1:{port};"), api=api))
    binary = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert binary is not None, "nginx is missing; `make test` installs it on Debian (package nginx-light)"
    process = subprocess.Popen([binary, "-p", folder, "-c", "nginx.conf", "-e", "error.log"])
    try:
        _until_up(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 10
    while True:
        assert process.poll() is None, "nginx ended; see its error.log"
        try:
            ask(url, "/health")
        except OSError:
            assert time.monotonic() < until, "nginx does not answer"
            time.sleep(0.02)
        else:
            return
