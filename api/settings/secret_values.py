"""Secrets from the environment: in a variable, or in the file that the variable with the suffix `_FILE` names.

A file keeps a secret out of the environment, which other programs of the user can read and which crash reports contain. Docker and
Kubernetes mount secrets as files.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from limiter.api.command_errors import Misused

ADMIN_TOKEN, V1_TOKEN, PEPPER = "LIMITER_ADMIN_TOKEN", "LIMITER_V1_TOKEN", "LIMITER_PEPPER"
REDIS_URL, CALLER_SECRET = "LIMITER_REDIS_URL", "LIMITER_CALLER_SECRET"
SECRETS = (ADMIN_TOKEN, V1_TOKEN, PEPPER, REDIS_URL, CALLER_SECRET)


def file_variable(name: str) -> str:
    return f"{name}_FILE"


def secret(name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The value of the variable or of its file. None if neither is set; an empty variable counts as not set."""
    value, file = environment.get(name), environment.get(file_variable(name))
    if value and file:
        raise Misused(f"{name} and {file_variable(name)} must not both be set: unset one of them")
    return secret_in(Path(file), file_variable(name)) if file else value or None


def secret_in(file: Path, source: str) -> str:
    """The content of a file without the line break at its end. `source` is the option or the variable that names the file."""
    try:
        content = file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Misused(f"{source} {file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not content.strip():
        raise Misused(f"{source} {file} must not be empty")
    return content
