"""`limiter` on the command line. Exit codes: 0 done, 1 it cannot be done now, 2 the command or a file it names is wrong."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from limiter.api.cli.count_commands import counts
from limiter.api.cli.key_commands import accounts_app, audit_app, keys_app
from limiter.api.command_errors import CannotStart
from limiter.api.config.loader import ConfigError, load, starting_file
from limiter.api.server.embedded import default_folder
from limiter.errors import LimiterError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="A Redis-backed rate limiter.")
app.add_typer(counts)
app.add_typer(keys_app, name="keys")
app.add_typer(accounts_app, name="accounts")
app.add_typer(audit_app)

AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


@app.command()
def serve(
    config: Annotated[Path | None, typer.Option(help="The configuration; without one, a sample is served.")] = None,
    redis: Annotated[str | None, typer.Option(envvar="LIMITER_REDIS_URL", help="Without one, a Redis of our own is started.")] = None,
    host: Annotated[str, typer.Option(help="The address that the front listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8080,
    admin_host: Annotated[str, typer.Option()] = "127.0.0.1",
    admin_port: Annotated[int, typer.Option(min=0, max=65535)] = 8081,
    admin_token_file: Annotated[Path | None, typer.Option(help="Holds the admin token; or set LIMITER_ADMIN_TOKEN.")] = None,
    upstream: Annotated[str | None, typer.Option(help="The API behind; the front is then a reverse proxy to it.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes that share the port.")] = 1,
    tls_cert: Annotated[Path | None, typer.Option(help="To end TLS here: a certificate chain in PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option()] = None,
    data: Annotated[Path | None, typer.Option(help="Where our own Redis keeps its data.")] = None,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log a line for each request.")] = False,
) -> None:
    """Run the sidecar until Ctrl-C."""
    # Here, so that the other commands do not wait for all that a server needs.
    from limiter.api.server import serve as serving  # noqa: PLC0415

    token = _token(admin_token_file)
    folder = data or default_folder()
    serving.serve(
        serving.Options(
            config, redis or None, host, port, admin_host, admin_port, token, upstream, workers, tls_cert, tls_key, folder, access_log
        )
    )


@app.command()
def validate(file: Path, *, as_json: AsJson = False) -> None:
    """Name every mistake in a configuration, with its line."""
    try:
        rules = load(file)
    except ConfigError as error:
        if not as_json:
            raise
        typer.echo(json.dumps({"valid": False, "mistakes": [str(each) for each in error.mistakes]}))
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps({"valid": True, "digest": rules.digest, "warnings": list(rules.warnings)}))
        return
    typer.echo(f"{file} is valid: {len(rules.policies)} policies, {len(rules.tiers)} tiers, {len(rules.keys)} keys")
    for warning in rules.warnings:
        typer.echo(f"warning: {warning}", err=True)


@app.command()
def init(file: Annotated[Path, typer.Argument()] = Path("limiter.yaml")) -> None:
    """Write a commented configuration to start from."""
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(starting_file())
    except FileExistsError:
        fail(f"{file} is there already, and is left as it is: name another file", 2)
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}", 2)
    typer.echo(f"wrote {file}: edit it, then `limiter serve --config {file}`")


def main() -> None:
    """The entry point: what goes wrong on purpose is told in a line, never as a traceback."""
    try:
        app()
    except ConfigError as error:
        fail(str(error), 2)
    except CannotStart as error:
        fail(str(error), error.code)
    except LimiterError as error:
        fail(str(error), 1)
    except KeyboardInterrupt:
        sys.exit(130)


def fail(message: str, code: int) -> NoReturn:
    """Say it on stderr, and end."""
    typer.echo(f"limiter: {message}", err=True)
    sys.exit(code)


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get("LIMITER_ADMIN_TOKEN") or None
    try:
        token = file.read_text("utf-8").strip()
    except OSError as error:
        fail(f"the admin token file {file} cannot be read: {error.strerror}", 2)
    if not token:
        fail(f"the admin token file {file} is empty", 2)
    return token


if __name__ == "__main__":
    main()
