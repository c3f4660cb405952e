"""The configuration: one YAML file, checked as a whole, and compiled to the rules in force.

The order to read in: `config_forms` (what there is in a file), `config_fields` and `config_limits` (what a field may hold),
`config_yaml` (text to tree), `config_check` (tree to form, with all mistakes), `config_compile` (form to rules).
"""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from limiter.api.config.check import checked
from limiter.api.config.compile import compiled
from limiter.api.config.lint import warnings_about
from limiter.api.config.mistakes import ConfigError, Mistake
from limiter.api.config.tree import WHOLE_FILE, Parse
from limiter.api.rules import Rules

__all__ = ["LARGEST", "ConfigError", "Mistake", "decoded", "digest_of", "load", "loads", "read", "starting_file", "unreadable"]

# Some five thousand static keys; more belong in the registry.
LARGEST = 1_048_576


def load(path: Path) -> Rules:
    """The rules of a file, or ConfigError with all that is wrong with it."""
    return loads(decoded(read(path), str(path)), str(path))


def loads(text: str, name: str = "<config>") -> Rules:
    """The rules of a text; `name` is what its mistakes are said to be in."""
    if len(text) > LARGEST:
        raise _too_large(name)
    parse = Parse(name)
    tree = parse.tree(text.removeprefix("\ufeff"))
    form = checked(parse, tree)
    return compiled(form, digest_of(text.encode()), warnings_about(form, name, tree))


def read(path: Path) -> bytes:
    """The bytes of a file, or as many as show that it is too large."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> ConfigError:
    reason = getattr(error, "strerror", None) or error
    return _unusable(str(path), f"cannot be read: {reason}: name a file that is there; `limiter init` writes one to start from")


def decoded(content: bytes, name: str) -> str:
    if len(content) > LARGEST:
        raise _too_large(name)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unusable(name, f"byte 0x{content[error.start]:02x} is no UTF-8: save the file as UTF-8", line) from None


def digest_of(content: bytes) -> str:
    """A short name for a content: the same for the same, another for another."""
    return sha256(content).hexdigest()[:12]


def starting_file() -> str:
    """What `limiter init` writes."""
    return files("limiter.api.config").joinpath("starting.yaml").read_text("utf-8")


def _too_large(name: str) -> ConfigError:
    return _unusable(name, f"is larger than {LARGEST:,} bytes: keep keys in the registry, and the file for policies")


def _unusable(name: str, message: str, line: int = 1) -> ConfigError:
    return ConfigError([Mistake(name, line, WHOLE_FILE, message)])
