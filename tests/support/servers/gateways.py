"""Real gateways between clients, the sidecar and an API. They run the configurations in examples/, changed only in addresses."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from support.servers.redis_server import free_port
from support.waiting import eventually

_EXAMPLES = Path(__file__).parents[3] / "examples"
# The file that a user adapts.
EXAMPLE = {
    "nginx": _EXAMPLES / "nginx.conf",
    "caddy": _EXAMPLES / "gateways" / "Caddyfile",
    "haproxy": _EXAMPLES / "gateways" / "haproxy.cfg",
    "envoy": _EXAMPLES / "gateways" / "envoy.yaml",
    "traefik": _EXAMPLES / "gateways" / "traefik-routes.yaml",
}
# Servers are installed in sbin, which is not on every PATH, and those from PyPI beside Python.
_PLACES = os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin"])

NGINX = """
daemon off;
user root;
pid nginx.pid;
error_log error.log;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
"""


@dataclass(frozen=True)
class Ports:
    """Where a gateway listens, and where it finds the sidecar and the API."""

    gateway: int
    sidecar: int
    api: int

    def placed(self, text: str) -> str:
        """A configuration with these ports. The examples have 80, 8080 and 9000."""
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{self.sidecar}").replace("127.0.0.1:9000", f"127.0.0.1:{self.api}")
        return text.replace("port_value: 8080", f"port_value: {self.sidecar}").replace("port_value: 9000", f"port_value: {self.api}")


# Writes the configuration into a folder and returns the command. `edit` may change the text of the example.
Prepare = Callable[[Path, Ports, Callable[[str], str]], list[str]]


def _nginx(folder: Path, ports: Ports, edit: Callable[[str], str]) -> list[str]:
    (folder / "tmp").mkdir()
    guard = ports.placed(edit(EXAMPLE["nginx"].read_text())).replace("listen 80;", f"listen 127.0.0.1:{ports.gateway};")
    (folder / "nginx.conf").write_text(f"{NGINX}{guard}}}\n")
    return [_binary("nginx"), "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"]


def _caddy(folder: Path, ports: Ports, edit: Callable[[str], str]) -> list[str]:
    text = ports.placed(edit(EXAMPLE["caddy"].read_text()))
    text = text.replace("api.example.com {", f"http://:{ports.gateway} {{\n\tbind 127.0.0.1")
    (folder / "Caddyfile").write_text("{\n\tadmin off\n}\n" + text)
    return [_binary("caddy"), "run", "--config", str(folder / "Caddyfile")]


def _haproxy(folder: Path, ports: Ports, edit: Callable[[str], str]) -> list[str]:
    inner = f"abns@limiter-{ports.gateway}"
    text = ports.placed(edit(EXAMPLE["haproxy"].read_text())).replace("/etc/haproxy", str(folder))
    text = text.replace("bind :80", f"bind 127.0.0.1:{ports.gateway}").replace("abns@limiter", inner)
    (folder / "haproxy.cfg").write_text(text)
    (folder / "haproxy.lua").write_text((_EXAMPLES / "gateways" / "haproxy.lua").read_text().replace("abns@limiter", inner))
    return [_binary("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


def _envoy(folder: Path, ports: Ports, edit: Callable[[str], str]) -> list[str]:
    text = ports.placed(edit(EXAMPLE["envoy"].read_text()))
    text = re.sub(r"address: 0\.0\.0\.0, port_value: 80\b", f"address: 127.0.0.1, port_value: {ports.gateway}", text)
    (folder / "envoy.yaml").write_text(text)
    return [_binary("envoy"), "-c", str(folder / "envoy.yaml"), "--use-dynamic-base-id", "--concurrency", "1", "-l", "warn"]


def _traefik(folder: Path, ports: Ports, edit: Callable[[str], str]) -> list[str]:
    text = (
        (_EXAMPLES / "gateways" / "traefik.yaml")
        .read_text()
        .replace("/etc/traefik", str(folder))
        .replace('":80"', f'"127.0.0.1:{ports.gateway}"')
    )
    (folder / "traefik.yaml").write_text(text)
    (folder / "traefik-routes.yaml").write_text(ports.placed(edit(EXAMPLE["traefik"].read_text())))
    return [_binary("traefik"), f"--configFile={folder / 'traefik.yaml'}"]


PROGRAMS: dict[str, Prepare] = {"nginx": _nginx, "caddy": _caddy, "haproxy": _haproxy, "envoy": _envoy, "traefik": _traefik}


@contextmanager
def gateway(program: str, folder: Path, sidecar: int, api: int, edit: Callable[[str], str] = str) -> Iterator[int]:
    """Runs a gateway in the empty folder and yields its port. Its output is in `log` in the folder."""
    ports = Ports(free_port(), sidecar, api)
    command = PROGRAMS[program](folder, ports, edit)
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env={**os.environ, **home}, stdout=log, stderr=log)
    try:
        eventually(lambda: _is_up(ports.gateway, process, folder), f"{program} listens")
        if program == "traefik":
            eventually(lambda: _has_routes(ports.gateway), "Traefik has routes")
        yield ports.gateway
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_up(port: int, process: subprocess.Popen[bytes], folder: Path) -> bool:
    assert process.poll() is None, f"the gateway has ended:\n{(folder / 'log').read_text()}"
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _has_routes(port: int) -> bool:
    """Traefik listens before it has read its routes, and answers 404 until then."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: ready\r\nConnection: close\r\n\r\n")
        return not connection.recv(65536).startswith(b"HTTP/1.1 404")


def _binary(name: str) -> str:
    found = shutil.which(name, path=_PLACES)
    assert found is not None, f"{name} is missing: `make test` installs it"
    return found


class Api:
    """The API behind a gateway. It answers with the method and the path, and has rate limit headers of its own.

    `numbers` are the rate limit headers of the last request.
    """

    def __init__(self) -> None:
        self.numbers: dict[str, str] = {}
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                api.numbers = {name.lower(): value for name, value in self.headers.items() if "ratelimit" in name.lower()}
                body = f"{self.command} {self.path}".encode()
                self.send_response(200)
                for name, value in {"Content-Length": len(body), "X-RateLimit-Remaining": "999", "RateLimit": '"api";r=999'}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = answer  # noqa: N815 - the names that http.server calls

            def log_message(self, *_) -> None:
                """Be quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()
