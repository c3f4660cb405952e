"""Runs an image as a container would: its user, a read-only root, and a network of its own."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from support.image import Image

# Mounts the root read-only, the volumes, and the names of the other containers, which are all on the loopback interface of the network.
_START = """
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
for volume in $VOLUMES; do
  target="$ROOT${volume#*:}"
  [ -e "${volume%%:*}" ]
  mount --bind "${volume%%:*}" "$target"
done
mount -o remount,bind,ro "$ROOT"
mount -t proc proc "$ROOT/proc"
exec chroot --userspec="$USER_ID:$USER_ID" "$ROOT" env -i "$@"
"""


@contextmanager
def network() -> Iterator[list[str]]:
    """The prefix of commands that run on a loopback interface of their own."""
    hold = "ip link set lo up; echo up; exec sleep infinity"
    with subprocess.Popen(["unshare", "--net", "sh", "-c", hold], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout
            assert holder.stdout.readline() == b"up\n"
            yield ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
        finally:
            holder.kill()


def prepare(image: Image, *, hosts: list[str], files: list[str]) -> None:
    """What a container runtime adds to the root: the names of the other containers, and places for mounts."""
    (image.root / "etc/hosts").write_text("".join(f"127.0.0.1 {host}\n" for host in ["localhost", *hosts]))
    for name in files:
        place = image.root / name[1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


@contextmanager
def container(
    image: Image,
    on: list[str],
    arguments: list[str],
    *,
    log: Path,
    environment: dict[str, str] | None = None,
    volumes: dict[Path, str],
    grace: float = 30,
) -> Iterator[subprocess.Popen[bytes]]:
    """A running container. At the end its process gets SIGTERM, and `grace` seconds later SIGKILL, as from a container runtime."""
    variables = [f"{name}={value}" for name, value in {**image.environment, **(environment or {})}.items()]
    settings = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "ROOT": str(image.root),
        "VOLUMES": " ".join(f"{source}:{target}" for source, target in volumes.items()),
        "USER_ID": image.user,
    }
    command = [*on, "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", _START, "sh", *variables, *arguments]
    with log.open("wb") as output, subprocess.Popen(command, env=settings, stdout=output, stderr=output) as running:
        try:
            yield running
        finally:
            _, alive = psutil.wait_procs(_terminate(running.pid), grace)
            if alive:
                running.kill()


def _terminate(outer: int) -> list[psutil.Process]:
    """Asks the first process of the container to stop. `unshare`, which waits for it, ignores SIGTERM."""
    inner = psutil.Process(outer).children()
    for process in inner:
        process.terminate()
    return inner
