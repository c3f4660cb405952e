"""What must be right before a test sends anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from users.plan import Defaults, InvalidPlan, Limits, limits_of, planned
from users.shapes import edge_seconds, edge_window


def common_limits(options: Mapping[str, Any], user_classes: list[type[Defaults]]) -> Limits:
    found = [limits_of(options, each) for each in user_classes]
    if any(limits != found[0] for limits in found):
        names = ", ".join(each.__name__ for each in user_classes)
        raise InvalidPlan(
            f"the users of one test must have the same limits, and those of {names} differ: name one of them, or set --limits"
        )
    return found[0]


def checked(options: Mapping[str, Any], user_classes: list[type[Defaults]], run_time: float | None) -> None:
    """Raises InvalidPlan, before anything is sent."""
    limits = common_limits(options, user_classes)
    for each in user_classes:
        planned(options, each)
    shape, least = options["shape"], edge_seconds(limits.all)
    if shape == "ramp" and not run_time:
        raise InvalidPlan("--shape ramp needs a --run-time, at the end of which it reaches twice the limits")
    if shape == "edge" and not edge_window(limits.all):
        raise InvalidPlan("--shape edge needs a limit with a window, such as 100/minute")
    if shape == "edge" and run_time and run_time < least:
        raise InvalidPlan(f"--shape edge needs a --run-time of at least {least:g}s to meet the edge of a window, not {run_time:g}s")
