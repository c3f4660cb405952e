"""Loads the configuration: one YAML file, checked as a whole and compiled to `Rules`.

text -> tree of nodes with their lines -> FileForm, or every mistake at once -> Rules, with warnings
"""

from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from limiter.api.config.check import checked
from limiter.api.config.compile import compiled
from limiter.api.config.lint import warnings_about
from limiter.api.config.mistakes import ConfigError, Mistake
from limiter.api.config.tree import WHOLE_FILE, Parse
from limiter.api.rules import Rules

__all__ = [
    "MAX_BYTES",
    "V1_NEEDS",
    "ConfigError",
    "Mistake",
    "decoded",
    "digest_of",
    "load",
    "loads",
    "read",
    "starting_file",
    "text_of",
    "unreadable",
]

V1_NEEDS = "token needs a token: start with LIMITER_V1_TOKEN or --v1-token-file, or set v1 to loopback, trusted or off"

# Room for about 5,000 keys; more belong in the registry.
MAX_BYTES = 1_048_576


def load(path: Path, *, has_v1_token: bool = True) -> Rules:
    """The rules of a file. Raises ConfigError with every mistake in it."""
    return loads(text_of(path), str(path), has_v1_token=has_v1_token)


def loads(text: str, name: str = "<config>", *, has_v1_token: bool = True) -> Rules:
    """The rules of a text. Mistakes name `name` as the file. `v1: token` is a mistake if this process has no token for it."""
    if len(text) > MAX_BYTES:
        raise _too_large(name)
    parse = Parse(name)
    tree = parse.tree(text.removeprefix("\ufeff"))
    form = checked(parse, tree)
    if form.v1 == "token" and not has_v1_token:
        raise ConfigError([Mistake(name, tree.nearest(["v1"])[1].line, "v1", V1_NEEDS)])
    return compiled(form, digest_of(text.encode()), warnings_about(form, name, tree))


def text_of(path: Path) -> str:
    """The text of a file. Raises ConfigError if it cannot be read."""
    return decoded(read(path), str(path))


def read(path: Path) -> bytes:
    """The content of a file, up to one byte more than is allowed."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> ConfigError:
    reason = getattr(error, "strerror", None) or error
    return _unusable(str(path), f"cannot be read: {reason}: `limiter init` writes a file to start from")


def decoded(content: bytes, name: str) -> str:
    if len(content) > MAX_BYTES:
        raise _too_large(name)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unusable(name, f"must be UTF-8: byte 0x{content[error.start]:02x} is not valid", line) from None


def digest_of(content: bytes) -> str:
    """A short identifier of the content."""
    return sha256(content).hexdigest()[:12]


def starting_file() -> str:
    return files("limiter.api.config").joinpath("starting.yaml").read_text("utf-8")


def _too_large(name: str) -> ConfigError:
    return _unusable(name, f"must be at most {MAX_BYTES:,} bytes: keep policies in the file and keys in the registry")


def _unusable(name: str, message: str, line: int = 1) -> ConfigError:
    return ConfigError([Mistake(name, line, WHOLE_FILE, message)])
