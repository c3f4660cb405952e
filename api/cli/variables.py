"""The variables of the environment that the command reads, and warnings about those that it does not know."""

import re
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from typing import Any

import typer
from typer.main import get_command

from limiter.api.config.mistakes import suggestion
from limiter.api.settings.secret_values import SECRETS, file_variable

_OURS = "LIMITER_"
# Kubernetes and Docker describe a service named `limiter` or `limiter-…` to the programs beside it in such variables.
_SERVICE_LINK = re.compile(r"LIMITER_(?:\w+_)?(?:SERVICE_(?:HOST|PORT)|PORT_\d+_(?:TCP|UDP|SCTP))(?:_\w+)?")
_LINKED = re.compile(r"(?:tcp|udp|sctp)://")


def drop_service_links(environment: MutableMapping[str, str]) -> None:
    """Drops the variables that describe services, which are not settings: here LIMITER_PORT is a URL such as tcp://10.0.0.1:8080."""
    for name, value in list(environment.items()):
        if name.startswith(_OURS) and (_SERVICE_LINK.fullmatch(name) or (name.endswith("_PORT") and _LINKED.match(value))):
            del environment[name]


def variables_of(app: typer.Typer) -> frozenset[str]:
    of_options = (str(option.envvar) for option in _options(get_command(app)) if getattr(option, "envvar", None))
    return frozenset([*of_options, *SECRETS, *map(file_variable, SECRETS)])


def warnings_about(environment: Mapping[str, str], known: Collection[str]) -> list[str]:
    unknown = sorted(name for name in environment if name.startswith(_OURS) and name not in known)
    return [f"unknown variable {name}: {suggestion(name, sorted(known))}" for name in unknown]


def _options(command: Any) -> Iterator[Any]:
    yield from command.params
    for inner in getattr(command, "commands", {}).values():
        yield from _options(inner)
