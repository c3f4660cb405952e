"""Real gateways between clients, the sidecar and an API. They run the folders in examples/gateways, changed only in ports."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support.pages import blocks
from support.servers.redis_server import free_port
from support.waiting import eventually

FOLDER = Path(__file__).parents[3] / "examples" / "gateways"
# The file that a user adapts, by gateway.
MAIN = {
    "nginx": "nginx.conf",
    "caddy": "Caddyfile",
    "haproxy": "haproxy.cfg",
    "apache": "apache.conf",
    "envoy": "envoy.yaml",
    "traefik": "routes.yaml",
}
# The switch in that file which lets requests pass while the sidecar does not answer.
OPEN = {
    "nginx": ("# error_page 502 504 = @open;", "error_page 502 504 = @open;"),
    "caddy": ("\t\t\timport unavailable\n", "\t\t\timport without_numbers\n"),
    "haproxy": ("http-request lua.limiter\n", "http-request lua.limiter_or_pass\n"),
    "apache": ("LuaHookAccessChecker limiter.lua authorize\n", "LuaHookAccessChecker limiter.lua authorize_or_pass\n"),
    "envoy": ("failure_mode_allow: false", "failure_mode_allow: true"),
    "traefik": ("middlewares: [once],", "middlewares: [once, pass],"),
}
# The lines of the main file that send `caller_headers` to the API, where they are not there without `#`.
CALLERS = {"caddy": ("# import callers", "import callers")}
# Servers are installed in sbin, which is not on every PATH, and those from PyPI beside Python.
PLACES = os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin"])

# A web page that may call the API, and the secret of the signatures.
PAGE = "https://app.example.com"
SECRET = "secret-of-the-callers"  # noqa: S105 - for sidecars of tests only

Edit = Callable[[str], str]


def fail_open(program: str) -> Edit:
    """An edit that turns the switch of an example."""
    return replacing(*OPEN[program])


def with_callers(program: str) -> Edit:
    """An edit that sends `caller_headers` to the API, if the example does not."""
    return replacing(*CALLERS[program], count=2) if program in CALLERS else str


def replacing(old: str, new: str, count: int = 1) -> Edit:
    def edit(text: str) -> str:
        assert text.count(old) == count, f"the example must contain {old!r} {count} times"
        return text.replace(old, new)

    return edit


def placed(text: str, ports: dict[str, int]) -> str:
    """A configuration with other ports. The examples have 8000 for the gateway, 8001 inside it, 8080 for the sidecar, 9000 for the API."""
    text = re.sub(rf"\b({'|'.join(ports)})\b", lambda found: str(ports[found[1]]), text)
    return text.replace("abns@limiter", f"abns@limiter-{ports['8000']}")


def command(program: str) -> list[str]:
    """The last command of the README of an example."""
    name, *arguments = shlex.split(blocks((FOLDER / program / "README.md").read_text(), "sh")[0].splitlines()[-1])
    found = shutil.which(name, path=PLACES)
    assert found is not None, f"{name} is missing: `make test` installs it"
    return [found, *arguments]


@contextmanager
def copied(program: str, ports: dict[str, int], edit: Edit = str) -> Iterator[Path]:
    """A copy of an example with other ports. `edit` may change the main file.

    It is not in pytest's folder, which only its owner may enter: nginx and Apache give up the rights of root.
    """
    with tempfile.TemporaryDirectory(prefix=f"{program}-") as name:
        folder = Path(name)
        shutil.copytree(FOLDER / program, folder, dirs_exist_ok=True)
        folder.chmod(0o755)
        for file in folder.rglob("*"):
            if file.is_file():
                text = file.read_text()
                file.write_text(placed(edit(text) if file.name == MAIN[program] else text, ports))
        yield folder


def environment(folder: Path) -> dict[str, str]:
    """Keeps what a gateway writes in the folder, and Caddy's admin API off its usual port."""
    return {**dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(folder)), "CADDY_ADMIN": f"unix//{folder}/admin"}


@contextmanager
def gateway(program: str, sidecar: int, api: int, edit: Edit = str) -> Iterator[int]:
    """Runs a copy of an example and yields its port."""
    ports = {"8000": free_port(), "8001": free_port(), "8080": sidecar, "9000": api}
    with copied(program, ports, edit) as folder:
        log = folder / "log"
        with log.open("wb") as to_log:
            variables = {**os.environ, **environment(folder)}
            process = subprocess.Popen(command(program), cwd=folder, env=variables, stdout=to_log, stderr=to_log)
        try:
            eventually(lambda: _is_up(ports["8000"], process, log), f"{program} listens")
            if program == "traefik":
                eventually(lambda: _has_routes(ports["8000"]), "Traefik has routes")
            yield ports["8000"]
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _is_up(port: int, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, f"the gateway has ended:\n{log.read_text()}"
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _has_routes(port: int) -> bool:
    """Traefik listens before it has read its routes, and answers 404 until then."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: ready\r\nConnection: close\r\n\r\n")
        return not connection.recv(65536).startswith(b"HTTP/1.1 404")
