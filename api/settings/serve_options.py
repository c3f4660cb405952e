"""The options of `limiter serve`, with their variables in the environment and their help.

An option on the command line takes precedence over its variable, and that over the configuration file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from limiter.api.settings.secret_values import ADMIN_TOKEN, REDIS_URL, V1_TOKEN, file_variable, secret
from limiter.api.settings.waits import ACCEPTED, wait_of
from limiter.errors import InvalidPolicy
from limiter.limits.checks import checked_name


def _redis_url(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> str | None:
    source = context.get_parameter_source(parameter.name or "")
    return value if value and source and source.name == "COMMANDLINE" else secret(REDIS_URL)


def _prefix(value: str | None) -> str | None:
    try:
        return None if value is None else checked_name(value, "prefix")
    except InvalidPolicy as error:
        raise typer.BadParameter(str(error)) from None


def _wait(text: str) -> float:
    seconds = wait_of(text)
    if seconds is None:
        raise typer.BadParameter(f"must be {ACCEPTED}, not {text!r}")
    return seconds


RedisUrl = Annotated[
    str | None,
    typer.Option(
        envvar=REDIS_URL,
        callback=_redis_url,
        help=f"URL of Redis ({file_variable(REDIS_URL)}: a file with it). Default: the configuration's redis.url, or an embedded Redis.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(envvar="LIMITER_DATA", help="The data folder. Default: $XDG_DATA_HOME/limiter or ~/.local/share/limiter."),
]
Prefix = Annotated[
    str | None,
    typer.Option(
        envvar="LIMITER_PREFIX",
        callback=_prefix,
        help="Prefix of the deployment's keys in Redis. Default: the configuration's redis.prefix, or lim.",
    ),
]
KeyPrefix = Annotated[
    str | None,
    typer.Option(envvar="LIMITER_KEY_PREFIX", help="Prefix of new API keys. Default: the configuration's credentials.prefix, or ff."),
]
AllowedHost = Annotated[
    list[str],
    typer.Option(
        "--allowed-host",
        default_factory=list,
        show_default=False,
        envvar="LIMITER_ALLOWED_HOSTS",
        help="A name by which clients reach the admin listener or /v1, besides localhost and IP addresses. Repeat the option for several.",
    ),
]


@dataclass(frozen=True, slots=True)
class ServeOptions:
    allowed_host: AllowedHost
    config: Annotated[
        Path | None, typer.Option(envvar="LIMITER_CONFIG", help="The configuration file. Default: a sample in the data folder.")
    ] = None
    redis: RedisUrl = None
    prefix: Prefix = None
    key_prefix: KeyPrefix = None
    host: Annotated[str, typer.Option(envvar="LIMITER_HOST", help="Address of the front listener.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(envvar="LIMITER_PORT", min=0, max=65535, help="Port of the front listener. 0 picks a free one.")] = (
        8080
    )
    admin_host: Annotated[str, typer.Option(envvar="LIMITER_ADMIN_HOST", help="Address of the admin listener.")] = "127.0.0.1"
    admin_port: Annotated[
        int, typer.Option(envvar="LIMITER_ADMIN_PORT", min=0, max=65535, help="Port of the admin listener. 0 picks a free one.")
    ] = 8081
    admin_token_file: Annotated[
        Path | None,
        typer.Option(
            envvar=file_variable(ADMIN_TOKEN), help=f"File with the admin token. Default: {ADMIN_TOKEN}, or one that the data folder keeps."
        ),
    ] = None
    v1_token_file: Annotated[
        Path | None,
        typer.Option(envvar=file_variable(V1_TOKEN), help=f"File with the token that /v1 requires under `v1: token`. Default: {V1_TOKEN}."),
    ] = None
    upstream: Annotated[
        str | None,
        typer.Option(envvar="LIMITER_UPSTREAM", help="URL of an API: the front is a reverse proxy to it. Default: no proxy."),
    ] = None
    workers: Annotated[int, typer.Option(envvar="LIMITER_WORKERS", min=1, max=256, help="Number of processes that serve the front.")] = 1
    tls_cert: Annotated[
        Path | None,
        typer.Option(envvar="LIMITER_TLS_CERT", help="Certificate chain in PEM, to terminate TLS at the front. Needs --tls-key."),
    ] = None
    tls_key: Annotated[Path | None, typer.Option(envvar="LIMITER_TLS_KEY", help="Private key of the certificate in PEM.")] = None
    data: Data = None
    shutdown_delay: Annotated[
        float | None,
        typer.Option(
            envvar="LIMITER_SHUTDOWN_DELAY",
            parser=_wait,
            metavar="DURATION",
            help="How long to go on accepting connections after SIGTERM, such as 5s. Default: the configuration's shutdown.delay, or 0s.",
        ),
    ] = None
    drain_time: Annotated[
        float | None,
        typer.Option(
            envvar="LIMITER_DRAIN_TIME",
            parser=_wait,
            metavar="DURATION",
            help="How long the requests in flight may take after that. Default: the configuration's shutdown.drain, or 10s.",
        ),
    ] = None
    log_format: Annotated[
        Literal["auto", "text", "json"],
        typer.Option(envvar="LIMITER_LOG_FORMAT", help="Format of the log on standard error: auto is text on a terminal, JSON elsewhere."),
    ] = "auto"
    access_log: Annotated[bool, typer.Option("--access-log", envvar="LIMITER_ACCESS_LOG", help="Log a line for every request.")] = False

    def can_require(self, v1_token: str | None) -> bool:
        """Whether this sidecar can run under `v1: token`. As a proxy it does not serve /v1, so it needs no token."""
        return v1_token is not None or self.upstream is not None
