"""Options that several commands share."""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from limiter.api.data_folder import data_folder
from limiter.api.rules import Rules
from limiter.api.server.embedded import embedded_url
from limiter.errors import InvalidPolicy, shown
from limiter.limits.durations import microseconds


def repeatable(name: str, help_text: str) -> Any:
    return typer.Option(name, default_factory=list, show_default=False, help=f"{help_text} Repeat the option for several.")


Config = Annotated[Path | None, typer.Option(envvar="LIMITER_CONFIG", help="The sidecar's configuration file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

AccountId = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's id.")]
Tier = Annotated[str | None, typer.Option(help="A tier of the configuration.")]
PolicyName = Annotated[str | None, typer.Option("--policy", help="A policy of the configuration, instead of the tier's.")]
Limits = Annotated[list[str], repeatable("--limit", "A limit such as '100/minute', instead of the tier's policy.")]
Cursor = Annotated[str, typer.Option(help="Continue a list: the cursor that the previous page printed.", show_default=False)]
Count = Annotated[int, typer.Option(help="Entries per page.")]


def redis_url(option: str | None, rules: Rules | None, data: Path | None) -> str:
    """The Redis that a command uses: the option's, the configuration's, or the embedded one of the data folder."""
    return option or (rules and rules.redis_url) or embedded_url(data_folder(data))


def seconds(text: str, what: str) -> float:
    """A duration such as `0`, `72h` or `7d`, or `never`."""
    if text == "never":
        return math.inf
    try:
        return 0.0 if text == "0" else microseconds(float(text) if text.replace(".", "", 1).isdecimal() else text, what) / 1_000_000
    except InvalidPolicy:
        raise InvalidPolicy(f"{what} must be a duration such as 72h or 90d, 0, or never, not {shown(text)}") from None


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters with their annotations evaluated, as keywords."""
    hints = get_type_hints(function, include_extras=True)
    listed = inspect.signature(function).parameters.values()
    return [each.replace(annotation=hints[each.name], kind=inspect.Parameter.KEYWORD_ONLY) for each in listed]


def spread(function: Callable[..., None], parameters: Sequence[inspect.Parameter] = ()) -> Callable[..., None]:
    """The function for typer, where a parameter that is a dataclass becomes one option for each field. Commands thus share options."""
    parameters = parameters or parameters_of(function)
    groups: dict[str, Any] = {each.name: each.annotation for each in parameters if is_dataclass(each.annotation)}

    def run(**options: Any) -> None:
        for name, group in groups.items():
            options[name] = group(**{each.name: options.pop(each.name) for each in fields(group)})
        function(**options)

    listed = [option for each in parameters for option in (parameters_of(each.annotation) if each.name in groups else [each])]
    vars(run)["__signature__"] = inspect.Signature(listed)
    run.__annotations__ = {each.name: each.annotation for each in listed}
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    return run


def cleared(names: list[str], known: set[str]) -> list[str]:
    """The values of --clear, each one of `known`."""
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"--clear must be one of {', '.join(sorted(known))}, not {name!r}")
    return names
