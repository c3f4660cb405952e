"""Builds the Dockerfile without Docker: in copies of a Debian tree made by debootstrap, which is what `debian:...-slim` contains.

The instructions that the Dockerfile uses are carried out, others are errors. RUN runs as root in the tree, on the network of this machine.
"""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

# How this machine reaches the package registries: its certificates and proxies. Docker passes proxies to a build, too.
CERTIFICATES, COPY_OF_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt"), "/etc/certificates-of-the-build.crt"
PROXIES = ("http_proxy", "https_proxy", "no_proxy")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(slots=True)
class Image:
    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    user: str = "0"
    folder: str = "/"
    healthcheck: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    @property
    def megabytes(self) -> int:
        """Without apt's cache, which Debian's image does not keep."""
        return int(subprocess.check_output(["du", "-sm", "--exclude=var/cache", self.root], text=True).split()[0])


def debian_tree(folder: Path, suite: str) -> Path:
    """A minimal Debian, with what it takes to reach the package registries from this machine."""
    subprocess.run(["debootstrap", "--variant=minbase", suite, folder], check=True, stdout=subprocess.DEVNULL)
    for name in ("resolv.conf", "hosts"):
        shutil.copy(Path("/etc") / name, folder / "etc" / name)
    if CERTIFICATES.exists():
        shutil.copy(CERTIFICATES, folder / COPY_OF_CERTIFICATES[1:])
    return folder


def copy_tree(tree: Path, target: Path) -> Path:
    subprocess.run(["cp", "--archive", "--reflink=auto", tree, target], check=True)
    return target


def run_in(root: Path, command: str, *, folder: str = "/", environment: dict[str, str] | None = None, on: Sequence[str] = ()) -> str:
    """What a command prints that runs as root in the tree. Everything that it starts ends with it. `on` is its network."""
    passed = {name: os.environ[name] for name in PROXIES if name in os.environ}
    if (root / COPY_OF_CERTIFICATES[1:]).exists():
        passed |= dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE"), COPY_OF_CERTIFICATES)
    variables = {"PATH": PATH, "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive", **passed, **(environment or {})}
    inside = [*on, "unshare", "--mount", "--pid", "--fork", "--kill-child", f"--root={root}", "--mount-proc", f"--wd={folder}"]
    arguments = ["env", "-i", *(f"{name}={value}" for name, value in variables.items()), "/bin/sh", "-euc", command]
    done = subprocess.run([*inside, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert not done.returncode, done.stdout
    return done.stdout


def build(context: Path, tree: Path, folder: Path) -> Image:
    """Builds the last stage of the Dockerfile. Every stage starts with a copy of the tree."""
    stages: dict[str, Image] = {}
    image = Image(tree)
    for step in DockerfileParser(path=str(context), cache_content=True).structure:
        instruction, value = step["instruction"], step["value"]
        if instruction == "FROM":
            image = stages[value.split()[-1]] = Image(copy_tree(tree, folder / f"stage{len(stages)}"))
        elif instruction == "RUN":
            run_in(image.root, value, folder=image.folder, environment=image.environment)
        elif instruction == "COPY":
            _copy(value.split(), context, stages, image)
        elif instruction not in {"COMMENT", "EXPOSE"}:
            _set(image, instruction, value)
    return image


def _set(image: Image, instruction: str, value: str) -> None:
    match instruction:
        case "WORKDIR":
            image.folder = value
            (image.root / value[1:]).mkdir(parents=True, exist_ok=True)
        case "ENV":
            image.environment |= dict(pair.split("=", 1) for pair in shlex.split(value))
        case "USER":
            image.user = value
        case "HEALTHCHECK":
            image.healthcheck = json.loads(value.partition("CMD ")[2])
        case "ENTRYPOINT":
            image.entrypoint, image.command = json.loads(value), []
        case "CMD":
            image.command = json.loads(value)
        case _:
            raise NotImplementedError(instruction)


def _copy(words: list[str], context: Path, stages: dict[str, Image], image: Image) -> None:
    *options, target = words
    origin = context
    if options[0].startswith("--from="):
        origin = stages[options.pop(0).removeprefix("--from=")].root
    for name in options:
        source = origin / name.lstrip("/")
        place = image.root / (Path(image.folder) / target).relative_to("/")
        if source.is_dir():
            shutil.copytree(source, place, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)
