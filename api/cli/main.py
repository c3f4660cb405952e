"""`limiter` on the command line.

Exit codes: 0 success; 1 the command failed; 2 invalid arguments or file; 3 unknown account or key; 4 conflict with a record.
"""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer

from limiter.api.callers.bearer_token import Tokens, check_strength, given_token
from limiter.api.cli.account_commands import accounts_app
from limiter.api.cli.audit_command import audit_app
from limiter.api.cli.console import FAILED, MISUSED, fail
from limiter.api.cli.count_commands import counts
from limiter.api.cli.import_command import import_app
from limiter.api.cli.key_commands import keys_app
from limiter.api.cli.options import Json, spread
from limiter.api.cli.variables import drop_service_links, variables_of, warnings_about
from limiter.api.command_errors import CannotStart
from limiter.api.config.loader import V1_NEEDS, ConfigError, load, starting_file
from limiter.api.logs import log_format
from limiter.api.settings.secret_values import ADMIN_TOKEN, V1_TOKEN
from limiter.api.settings.serve_options import ServeOptions
from limiter.errors import LimiterError

_log = structlog.get_logger("limiter.serve")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="A Redis-backed rate limiter.")
app.add_typer(counts)
app.add_typer(keys_app, name="keys")
app.add_typer(accounts_app, name="accounts")
app.add_typer(audit_app)
app.add_typer(import_app)


@app.command()
@spread
def serve(options: ServeOptions) -> None:
    """Run the sidecar until it is interrupted."""
    # Imported here, so that the other commands start without loading a server.
    from limiter.api.server.serve import serve as run_sidecar  # noqa: PLC0415

    log_format.set_up(log_format.format_for(options.log_format))
    for warning in warnings_about(os.environ, variables_of(app)):
        _log.warning(warning)
    run_sidecar(options, _tokens(options))


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
    warnings = list(rules.warnings)
    if rules.v1 == "token" and given_token("", None, V1_TOKEN) is None:
        warnings.append(f"{file}: v1: {V1_NEEDS}")
    if as_json:
        typer.echo(json.dumps({"valid": True, "digest": rules.digest, "warnings": warnings}))
        return
    typer.echo(f"{file} is valid. Policies: {len(rules.policies)}, tiers: {len(rules.tiers)}, keys: {len(rules.keys)}")
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"Serve it: limiter serve --config {shlex.quote(str(file))}. A running sidecar reloads it by itself.")


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
    name = shlex.quote(str(file))
    typer.echo(f"Created {file}. Check it after each change, and serve it:")
    typer.echo(f"  limiter validate {name}")
    typer.echo(f"  limiter serve --config {name}")


def main() -> None:
    """The entry point. An expected error is one message and an exit code, without a traceback."""
    drop_service_links(os.environ)
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


def _tokens(options: ServeOptions) -> Tokens:
    for_v1 = given_token("--v1-token-file", options.v1_token_file, V1_TOKEN)
    if for_v1 is not None:
        check_strength(for_v1, V1_TOKEN if options.v1_token_file is None else f"--v1-token-file {options.v1_token_file}")
    return Tokens(given_token("--admin-token-file", options.admin_token_file, ADMIN_TOKEN), for_v1)


if __name__ == "__main__":
    main()
