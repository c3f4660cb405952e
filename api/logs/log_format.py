"""Logging on stderr, for this package and its libraries: lines for people on a terminal, and one JSON object per line elsewhere.

No line contains an API key or a query string.
"""

import json
import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from typing import Any, Literal

import structlog

from limiter.errors import printable

Format = Literal["text", "json"]

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]

# Below these levels they repeat what the sidecar logs itself. uvicorn also warns of each invalid request, so clients could fill the disk.
_LEVELS = {"uvicorn": logging.ERROR, "uvicorn.error": logging.ERROR, "asyncio": logging.WARNING, "watchfiles": logging.WARNING}

_COLORS = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}
_END = "\x1b[0m"


def set_up(written: Format, **always: object) -> None:
    """`always` is part of every line, such as the number of the worker."""
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**always)
    renderer = structlog.processors.JSONRenderer() if written == "json" else TextRenderer(has_colors=may_use_colors())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(level)


def format_for(asked: Literal["auto", "text", "json"]) -> Format:
    """`auto` is text on a terminal."""
    if asked == "auto":
        return "text" if sys.stderr.isatty() else "json"
    return asked


def may_use_colors(environment: Mapping[str, str] = os.environ) -> bool:
    """NO_COLOR is what users set against colors, in all programs (no-color.org)."""
    return sys.stderr.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


class TextRenderer:
    """`12:30:59 warning  Redis does not answer: ...  reason='cannot connect'`, in local time."""

    def __init__(self, *, has_colors: bool) -> None:
        self._has_colors = has_colors

    def __call__(self, _logger: object, _method: str, line: MutableMapping[str, Any]) -> str:
        time = datetime.fromisoformat(line.pop("timestamp")).astimezone().strftime("%H:%M:%S")
        level, event, traceback = line.pop("level"), printable(str(line.pop("event"))), line.pop("exception", "")
        line.pop("logger", None)
        rest = "  ".join(f"{name}={_shown(value)}" for name, value in line.items() if value is not None)
        text = f"{time} {self._colored(level)}  {event}{f'  {rest}' if rest else ''}"
        # The message of an error may have text of a client in it.
        return "\n".join([text, *map(printable, traceback.splitlines())])

    def _colored(self, level: str) -> str:
        padded = f"{level:<7}"
        return f"{_COLORS[level]}{padded}{_END}" if self._has_colors and level in _COLORS else padded


def _shown(value: object) -> str:
    """A word as it is, and everything else as JSON."""
    if isinstance(value, str) and value.isprintable() and value and not set(value) & set(" \"'="):
        return value
    return printable(json.dumps(value, ensure_ascii=False, default=str))
