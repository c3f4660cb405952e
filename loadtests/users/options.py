"""The options that these locustfiles add to Locust's own."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from users.shapes import SHAPES

GATEWAYS = ("envoy", "forwarded", "nginx", "none")

# Name, metavar, default and help. What has the default None may also be set by the user class.
_OPTIONS: tuple[tuple[str, str, str | int | float | None, str], ...] = (
    ("--keys", "FILE", None, "API keys, one per line, optionally followed by the name of the account that owns it"),
    ("--limits", "LIMITS", None, "limits of each key, such as '100/minute, 1000/hour' or 'burst 50, 1200/minute'"),
    ("--account-limits", "LIMITS", None, "limits that all keys of an account share"),
    ("--sidecar-config", "FILE", None, "take the limits from the configuration of a sidecar, by --tier"),
    ("--tier", "NAME", None, "the tier of the keys"),
    (
        "--key-header",
        "HEADER",
        None,
        "header of the key: 'x-api-key', or with a word before the key: 'Authorization: Bearer' (the default)",
    ),
    ("--path", "PATH", None, "path to request (default: /)"),
    ("--method", "METHOD", None, "method of the requests (default: GET)"),
    ("--requests", "N", None, "end when each user has sent this many, and not only with --run-time"),
    ("--denied-status", "STATUS", 429, "status of a denial"),
    ("--clock-tolerance", "SECONDS", 0.1, "how far the clocks of other machines may differ: those of workers, and the server's for quotas"),
    ("--max-failures", "N", 0, "requests that may fail; a denial that is owed is not a failure"),
    ("--max-p99", "MS", None, "bound of the time in which 99 %% of the responses arrive"),
    ("--report", "FILE", "load-report.html", "where to write the report"),
)
_KINDS = {"N": int, "STATUS": int, "MS": float, "SECONDS": float}


def add_options(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Rate limits", "What to send, and the limits to judge by")
    for name, metavar, default, text in _OPTIONS:
        group.add_argument(name, metavar=metavar, default=default, type=_KINDS.get(metavar, str), help=text)
    group.add_argument("--shape", choices=SHAPES, default="mixed", help="how each key sends (default: mixed)")
    group.add_argument(
        "--forward-auth", choices=GATEWAYS, help="ask /authorize as this gateway does; as in identify.gateway of the sidecar"
    )
    group.add_argument(
        "--header", action="append", default=[], metavar="'NAME: VALUE'", help="header to send with each request; repeatable"
    )
    group.add_argument("--keys-in-use", action="store_true", help="the keys have other traffic too, so judge only what was admitted")


_NAMES = (*(name for name, *_ in _OPTIONS), "--shape", "--forward-auth", "--header", "--keys-in-use")


def ours(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Of all parsed options, those that this file adds."""
    return {name: parsed.get(name) for name in (each.removeprefix("--").replace("-", "_") for each in _NAMES)}
