"""The input of a load test: URLs, keys and limits. A JSON file, whose path is in LIMITER_LOAD."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "LIMITER_LOAD"


@dataclass(frozen=True, slots=True)
class Scenario:
    """`limits` are enforced on each key; `held_to` are checked at the end, and differ only to make the check fail."""

    authorize_url: str
    proxy_url: str
    keys: Sequence[str]
    limits: Sequence[str]
    held_to: Sequence[str]

    @classmethod
    def read(cls) -> Scenario:
        path = os.environ.get(VARIABLE)
        if not path:
            raise SystemExit(f"{VARIABLE} must be the path of a scenario: run loadtests/load.py, or write one (see loadtests/scenario.py)")
        return cls(**json.loads(Path(path).read_text("utf-8")))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), "utf-8")
