"""Self-signed certificates for localhost."""

import subprocess
from pathlib import Path


def make_pair(folder: Path, name: str, *options: str) -> tuple[Path, Path]:
    """A certificate with this common name, and its key, as `cert.pem` and `key.pem` in the folder."""
    folder.mkdir(exist_ok=True)
    cert, key = folder / "cert.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2", "-subj", f"/CN={name}"]
    command = [*made, *(options or ["-nodes"]), "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key
