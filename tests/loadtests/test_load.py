"""`make load` tells whether the limits held: it can say no."""

import subprocess
import sys
from pathlib import Path

LOAD = Path(__file__).resolve().parents[2] / "loadtests" / "load.py"


def load(*options: str) -> subprocess.CompletedProcess[str]:
    """Real time, as what is shown is a running sidecar: five seconds of it."""
    command = [sys.executable, str(LOAD), "--seconds", "5", "--users", "8", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_sidecar_that_holds_its_limits_passes():
    done = load()

    assert done.returncode == 0, done.stdout + done.stderr
    assert "The limits were held." in done.stdout


def test_what_was_admitted_beyond_a_limit_fails():
    """Held to less than what the sidecar enforces, the same traffic is beyond both."""
    done = load("--held-to", "25/minute", "burst 20, 60/minute")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "and 25 are the limit" in done.stdout
    assert "and 20 with 1 a second are the limit" in done.stdout
