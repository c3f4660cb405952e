"""`limiter import`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from limiter.api.cli.console import MISUSED, fail
from limiter.api.importing import envoy_ratelimit, nginx
from limiter.api.importing.draft import CannotImport
from limiter.errors import printable

import_app = typer.Typer()


class Format(StrEnum):
    NGINX = "nginx"
    RATELIMIT = "ratelimit"


_READERS = {Format.NGINX: nginx.draft_of, Format.RATELIMIT: envoy_ratelimit.draft_of}


@import_app.command("import")
def import_configuration(
    origin: Annotated[Format, typer.Argument(metavar="FORMAT", help="nginx, or ratelimit for the YAML of envoyproxy/ratelimit.")],
    file: Annotated[Path, typer.Argument(help="The configuration of the other limiter.")],
) -> None:
    """Print a configuration with the limits of another limiter, and on stderr what differs.

    `limiter import nginx /etc/nginx/nginx.conf > limiter.yaml`
    """
    try:
        draft = _READERS[origin](file)
        text = draft.render()
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}", MISUSED)
    except RecursionError:
        fail(f"{file} is nested too deeply, or includes itself", MISUSED)
    except CannotImport as error:
        fail("\n".join(map(printable, str(error).splitlines())), MISUSED)
    typer.echo(text, nl=False)
    for note in draft.notes:
        typer.echo(f"note: {note}", err=True)
