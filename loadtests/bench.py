"""`make bench`: compares speed with bare Redis, a bare server and other limiters, each table in interleaved rounds of one run.

python loadtests/bench.py [--short] [--only library]

A full run writes its figures into README.md, docs/benchmarks.md and docs/gateways.md. Targets depend on the machine: a missed target is
printed as missed, and the exit code is 0.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benches import document, engine, frameworks, front, gateways, goodput, redis_cpu, refused
from benches.machine import facts
from benches.tables import Report, targets_table

BENCHES: dict[str, Callable[..., Report]] = {
    "library": engine.bench,
    "redis-cpu": redis_cpu.bench,
    "http": front.bench,
    "frameworks": frameworks.bench,
    "refused": refused.bench,
    "goodput": goodput.bench,
    "gateways": gateways.bench,
}
KEYS = "keys"


def main() -> None:
    options = _arguments()
    names = [options.only] if options.only else [*BENCHES, KEYS]
    where = facts()
    print(f"On {where}", flush=True)
    reports = {name: _run(name, short=options.short) for name in names if name != KEYS}
    if KEYS in names:
        _bench_keys(short=options.short)
    targets = [target for report in reports.values() for target in report.targets]
    if len(reports) > 1:
        print(f"\n{targets_table(targets)}")
    if not options.short:
        document.write(_sections(reports, where))
        print(f"\nWritten to {' and '.join(path.name for path in document.DOCUMENTS)}.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a quick check that the benches work; its figures are not reliable")
    parser.add_argument("--only", choices=[*BENCHES, KEYS])
    return parser.parse_args()


def _run(name: str, *, short: bool) -> Report:
    started = time.perf_counter()
    report = BENCHES[name](short=short)
    print(f"\n{report}\n\n({name}: {time.perf_counter() - started:.0f} s)", flush=True)
    return report


def _bench_keys(*, short: bool) -> None:
    print("\n## Keys\n", flush=True)
    command = [sys.executable, str(Path(__file__).with_name("bench_keys.py")), *(["--short"] if short else [])]
    subprocess.run(command, check=True)  # noqa: S603 - a fixed command


def _sections(reports: dict[str, Report], where: str) -> dict[str, str]:
    sections = {name: f"Measured on {where}\n\n{report.body}" for name, report in reports.items()}
    sections |= {f"summary of {name}": "\n\n".join(map(str, report.summary)) for name, report in reports.items() if report.summary}
    return sections


if __name__ == "__main__":
    main()
