"""`make bench`: the speed, beside bare Redis, a bare server and other limiters, each table in interleaved rounds of one run.

python loadtests/bench.py [--short] [--only library]

A run that is not short puts its figures into README.md and docs/benchmarks.md. None passes judgement on a machine: a missed target is
printed as missed, and the exit code is 0.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benches import document, engine, front, redis_cpu
from benches.machine import facts
from benches.tables import Report, targets_table

BENCHES: dict[str, Callable[..., Report]] = {"library": engine.bench, "redis-cpu": redis_cpu.bench, "http": front.bench}
KEYS = "keys"


def main() -> None:
    told = _arguments()
    names = [told.only] if told.only else [*BENCHES, KEYS]
    where = facts()
    print(f"On {where}", flush=True)
    reports = {name: _ran(name, short=told.short) for name in names if name != KEYS}
    if KEYS in names:
        _bench_keys(short=told.short)
    targets = [target for report in reports.values() for target in report.targets]
    if len(reports) > 1:
        print(f"\n{targets_table(targets)}")
    if not told.short:
        document.write(_sections(reports, where))
        print(f"\nWritten to {' and '.join(path.name for path in document.DOCUMENTS)}.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="only show that it works; the figures say little")
    parser.add_argument("--only", choices=[*BENCHES, KEYS])
    return parser.parse_args()


def _ran(name: str, *, short: bool) -> Report:
    started = time.perf_counter()
    report = BENCHES[name](short=short)
    print(f"\n{report}\n\n({name}: {time.perf_counter() - started:.0f} s)", flush=True)
    return report


def _bench_keys(*, short: bool) -> None:
    print("\n## Keys\n", flush=True)
    command = [sys.executable, str(Path(__file__).with_name("bench_keys.py")), *(["--short"] if short else [])]
    subprocess.run(command, check=True)  # noqa: S603 - our own, beside this


def _sections(reports: dict[str, Report], where: str) -> dict[str, str]:
    sections = {name: f"Measured on {where}\n\n{report.body}" for name, report in reports.items()}
    sections |= {f"summary of {name}": "\n\n".join(map(str, report.summary)) for name, report in reports.items() if report.summary}
    return sections


if __name__ == "__main__":
    main()
