"""`limiter` on the command line.

Exit codes: 0 success; 1 the command failed; 2 invalid arguments or file; 3 unknown account or key; 4 conflict with a record.
"""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from limiter.api.cli.account_commands import accounts_app
from limiter.api.cli.audit_command import audit_app
from limiter.api.cli.console import FAILED, MISUSED, fail
from limiter.api.cli.count_commands import counts
from limiter.api.cli.key_commands import keys_app
from limiter.api.cli.options import Json, spread
from limiter.api.command_errors import CannotStart
from limiter.api.config.loader import ConfigError, load, starting_file
from limiter.api.server.serve_options import ServeOptions
from limiter.errors import LimiterError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="A Redis-backed rate limiter.")
app.add_typer(counts)
app.add_typer(keys_app, name="keys")
app.add_typer(accounts_app, name="accounts")
app.add_typer(audit_app)


@app.command()
@spread
def serve(options: ServeOptions) -> None:
    """Run the sidecar until it is interrupted."""
    # Imported here, so that the other commands start without loading a server.
    from limiter.api.server.serve import serve as run_sidecar  # noqa: PLC0415

    run_sidecar(options, _admin_token(options.admin_token_file))


@app.command()
def validate(file: Annotated[Path, typer.Argument(help="The configuration file.")], *, as_json: Json = False) -> None:
    """Check a configuration file and list every mistake with its line."""
    try:
        rules = load(file)
    except ConfigError as error:
        if not as_json:
            raise
        typer.echo(json.dumps({"valid": False, "mistakes": [str(each) for each in error.mistakes]}))
        raise typer.Exit(MISUSED) from None
    if as_json:
        typer.echo(json.dumps({"valid": True, "digest": rules.digest, "warnings": list(rules.warnings)}))
        return
    typer.echo(f"{file} is valid. Policies: {len(rules.policies)}, tiers: {len(rules.tiers)}, keys: {len(rules.keys)}")
    for warning in rules.warnings:
        typer.echo(f"warning: {warning}", err=True)


@app.command()
def init(file: Annotated[Path, typer.Argument(help="The file to create.")] = Path("limiter.yaml")) -> None:
    """Create a configuration file with comments to start from."""
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(starting_file())
    except FileExistsError:
        fail(f"{file} already exists and was not changed: name another file", MISUSED)
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}", MISUSED)
    typer.echo(f"Created {file}. Edit it, then run: limiter serve --config {file}")


def main() -> None:
    """The entry point. An expected error is one message and an exit code, without a traceback."""
    try:
        app()
    except ConfigError as error:
        # One mistake per line, each with its file, so without the prefix of `fail`.
        typer.echo(str(error), err=True)
        sys.exit(MISUSED)
    except CannotStart as error:
        fail(str(error), error.code)
    except LimiterError as error:
        fail(str(error), FAILED)
    except KeyboardInterrupt:
        sys.exit(130)


def _admin_token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get("LIMITER_ADMIN_TOKEN") or None
    try:
        token = file.read_text("utf-8").strip()
    except OSError as error:
        fail(f"--admin-token-file {file} cannot be read: {error.strerror}", MISUSED)
    if not token:
        fail(f"--admin-token-file {file} must not be empty", MISUSED)
    return token


if __name__ == "__main__":
    main()
