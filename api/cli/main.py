"""`limiter` on the command line.

Exit codes: 0 success; 1 the command failed; 2 invalid arguments or file; 3 unknown account or key; 4 conflict with a record.
"""

from __future__ import annotations

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
from limiter.api.cli.options import Data, Json
from limiter.api.command_errors import CannotStart
from limiter.api.config.loader import ConfigError, load, starting_file
from limiter.api.server.embedded import default_folder
from limiter.errors import LimiterError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="A Redis-backed rate limiter.")
app.add_typer(counts)
app.add_typer(keys_app, name="keys")
app.add_typer(accounts_app, name="accounts")
app.add_typer(audit_app)

Config = Annotated[Path | None, typer.Option(help="The configuration file. Default: a sample in the data folder.")]
RedisUrl = Annotated[
    str | None,
    typer.Option(envvar="LIMITER_REDIS_URL", help="URL of Redis. Default: the configuration's redis.url, or an embedded Redis."),
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port of the front listener. 0 picks a free one.")]
AdminPort = Annotated[int, typer.Option(min=0, max=65535, help="Port of the admin listener. 0 picks a free one.")]
TokenFile = Annotated[
    Path | None, typer.Option(help="File with the admin token. Default: LIMITER_ADMIN_TOKEN, or a new token that is printed at the start.")
]
Upstream = Annotated[str | None, typer.Option(help="URL of an API: the front is a reverse proxy to it. Default: no proxy.")]
Workers = Annotated[int, typer.Option(min=1, max=256, help="Number of processes that serve the front.")]
Certificate = Annotated[Path | None, typer.Option(help="Certificate chain in PEM, to terminate TLS at the front. Needs --tls-key.")]
CertificateKey = Annotated[Path | None, typer.Option(help="Private key of the certificate in PEM.")]


@app.command()
def serve(
    config: Config = None,
    redis: RedisUrl = None,
    host: Annotated[str, typer.Option(help="Address of the front listener.")] = "127.0.0.1",
    port: Port = 8080,
    admin_host: Annotated[str, typer.Option(help="Address of the admin listener.")] = "127.0.0.1",
    admin_port: AdminPort = 8081,
    admin_token_file: TokenFile = None,
    upstream: Upstream = None,
    workers: Workers = 1,
    tls_cert: Certificate = None,
    tls_key: CertificateKey = None,
    data: Data = None,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log a line for every request.")] = False,
) -> None:
    """Run the sidecar until it is interrupted."""
    # Imported here, so that the other commands start without loading a server.
    from limiter.api.server import serve as serving  # noqa: PLC0415

    serving.serve(
        serving.ServeOptions(
            config=config,
            redis=redis or None,
            host=host,
            port=port,
            admin_host=admin_host,
            admin_port=admin_port,
            admin_token=_admin_token(admin_token_file),
            upstream=upstream,
            workers=workers,
            tls_cert=tls_cert,
            tls_key=tls_key,
            data=data or default_folder(),
            access_log=access_log,
        )
    )


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
