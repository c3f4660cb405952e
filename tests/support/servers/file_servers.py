"""Real file servers that serve one folder, and gateways before them that ask a sidecar about each request.

All gateways pass requests on to one dispatcher, which picks the file server by a header and leaves the target as it is.
"""

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from getpass import getuser
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from support.proxy.proxying import serving
from support.servers.gateways import FOLDER, placed
from support.servers.redis_server import free_port
from support.waiting import eventually

# Node's usual way from a request to a file.
NODE = """
const http = require("http"), fs = require("fs"), path = require("path");
http.createServer((request, response) => {
  try {
    const name = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    fs.readFile(path.join(process.argv[1], name), (error, body) => { response.writeHead(error ? 404 : 200); response.end(body); });
  } catch {
    response.writeHead(400);
    response.end();
  }
}).listen(Number(process.argv[2]), "127.0.0.1");
"""

CADDY = """
{{
  admin off
  auto_https off
}}
http://:{before} {{
  bind 127.0.0.1
  forward_auth {front} {{
    uri /authorize
  }}
  reverse_proxy 127.0.0.1:{dispatcher}
}}
http://:{both} {{
  bind 127.0.0.1
  forward_auth {front} {{
    uri /authorize
  }}
  root * {folder}
  file_server
}}
http://:{files} {{
  bind 127.0.0.1
  root * {folder}
  file_server
}}
"""


@contextmanager
def running(command: list[str | Path], port: int, **environment: str) -> Iterator[None]:
    """The command, from when it listens on the port until the end of the block."""

    def listens() -> bool:
        assert process.poll() is None, f"{command[0]} ended"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, **environment})
    try:
        eventually(listens, f"{command[0]} to start")
        yield
    finally:
        process.terminate()
        process.wait(10)


def program(name: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert found is not None, f"{name} is missing; `make test` installs it on Debian"
    return found


@contextmanager
def nginx(work: Path, folder: Path, front: int, dispatcher: int) -> Iterator[tuple[int, int]]:
    """The ports of the nginx of examples/gateways before the dispatcher, and of nginx as a file server."""
    port, files = free_port(), free_port()
    text = placed((FOLDER / "nginx" / "nginx.conf").read_text(), {"8000": port, "8080": front, "9000": dispatcher})
    http, end, _ = text.rpartition("}")
    work.mkdir(parents=True)
    # As root, nginx would read the folder as nobody.
    file_server = f"server {{ listen 127.0.0.1:{files}; root {folder}; }}"
    (work / "nginx.conf").write_text(f"user {getuser()};\n{http}{file_server}\n{end}\n")
    with running([program("nginx"), "-p", work, "-c", "nginx.conf", "-e", "stderr"], port):
        yield port, files


@contextmanager
def caddy(work: Path, folder: Path, front: int, dispatcher: int) -> Iterator[tuple[int, int, int]]:
    """The ports of Caddy before the dispatcher, of Caddy as both gateway and file server, and of Caddy as a file server only."""
    before, both, files = free_port(), free_port(), free_port()
    text = CADDY.format(front=f"127.0.0.1:{front}", before=before, both=both, files=files, dispatcher=dispatcher, folder=folder)
    work.mkdir()
    (work / "Caddyfile").write_text(text)
    with running([program("caddy"), "run", "--config", work / "Caddyfile", "--adapter", "caddyfile"], files, HOME=str(work)):
        yield before, both, files


@contextmanager
def node(folder: Path) -> Iterator[int]:
    port = free_port()
    with running([program("node"), "-e", NODE, str(folder), str(port)], port):
        yield port


@contextmanager
def starlette(folder: Path) -> Iterator[int]:
    with serving(Starlette(routes=[Mount("/", StaticFiles(directory=folder))]), http="httptools") as port:
        yield port


class Dispatcher:
    """Passes each request on to the server that its header X-Server names, with its target unchanged."""

    def __init__(self) -> None:
        self.servers: dict[str, int] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, suppress(OSError):
                client.settimeout(5)
                self._pass_on(client)

    def _pass_on(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            received = client.recv(65536)
            if not received:
                return
            head += received
        name = head.lower().partition(b"x-server: ")[2].partition(b"\r\n")[0].decode()
        lines = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(b"connection:")]
        with socket.create_connection(("127.0.0.1", self.servers[name]), 5) as server:
            server.sendall(b"\r\n".join([*lines, b"Connection: close", b"", b""]))
            while received := server.recv(65536):
                client.sendall(received)


@contextmanager
def dispatching() -> Iterator[Dispatcher]:
    dispatcher = Dispatcher()
    try:
        yield dispatcher
    finally:
        dispatcher.stop()


@contextmanager
def started_together(*contexts) -> Iterator[list]:
    """Enters the contexts in threads, because most of them wait for a process."""
    with ExitStack() as stack, ThreadPoolExecutor() as pool:

        def enter(context):
            entered = context.__enter__()
            stack.push(context)
            return entered

        yield list(pool.map(enter, contexts))
