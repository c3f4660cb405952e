"""What a load test is told: where to ask, with which keys, and what they are to be held to. A JSON file, named by LIMITER_LOAD."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "LIMITER_LOAD"


@dataclass(frozen=True, slots=True)
class Scenario:
    """`limits` are those that the keys have; `held_to` what is checked at the end, the same unless one wants to see the check fail."""

    authorize_url: str
    proxy_url: str
    keys: Sequence[str]
    limits: Sequence[str]
    held_to: Sequence[str]

    @classmethod
    def read(cls) -> Scenario:
        path = os.environ.get(VARIABLE)
        if not path:
            raise SystemExit(f"{VARIABLE} names no scenario: start this by loadtests/load.py, or write one as loadtests/scenario.py has it")
        return cls(**json.loads(Path(path).read_text("utf-8")))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), "utf-8")
