"""`make load` checks that limits are held, and fails if they are not."""

import subprocess
import sys
from pathlib import Path

LOAD = Path(__file__).resolve().parents[2] / "loadtests" / "load.py"


def load(*options: str) -> subprocess.CompletedProcess[str]:
    """Runs `make load` against real sidecars, until each user has sent 40 requests."""
    command = [sys.executable, str(LOAD), "--users", "4", "--shape", "burst", "--requests", "40", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_sidecar_that_holds_its_limits_passes():
    done = load()

    assert done.returncode == 0, done.stdout + done.stderr
    report, verdict = done.stdout.splitlines()[-2:]
    assert report == "Report: build/load.html"
    assert verdict.startswith("PASS: the limits were held.")


def test_a_load_test_held_to_tighter_limits_fails():
    """The traffic that the sidecar admits exceeds both of the tighter limits."""
    done = load("--held-to", "25/minute", "burst 20, 60/minute")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "above the limit of 25" in done.stdout
    assert "above the limit of 20 and 1 a second" in done.stdout
