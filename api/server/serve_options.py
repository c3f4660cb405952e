"""The options of `limiter serve`, with their help."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

RedisUrl = Annotated[
    str | None,
    typer.Option(envvar="LIMITER_REDIS_URL", help="URL of Redis. Default: the configuration's redis.url, or the embedded Redis."),
]
Data = Annotated[Path | None, typer.Option(help="The sidecar's data folder. Default: $XDG_DATA_HOME/limiter or ~/.local/share/limiter.")]
AllowedHost = Annotated[
    list[str],
    typer.Option(
        "--allowed-host",
        default_factory=list,
        show_default=False,
        help="A name by which clients reach the admin listener or /v1, besides localhost and IP addresses. Repeat the option for several.",
    ),
]


@dataclass(frozen=True, slots=True)
class ServeOptions:
    allowed_host: AllowedHost
    config: Annotated[Path | None, typer.Option(help="The configuration file. Default: a sample in the data folder.")] = None
    redis: RedisUrl = None
    host: Annotated[str, typer.Option(help="Address of the front listener.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the front listener. 0 picks a free one.")] = 8080
    admin_host: Annotated[str, typer.Option(help="Address of the admin listener.")] = "127.0.0.1"
    admin_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the admin listener. 0 picks a free one.")] = 8081
    admin_token_file: Annotated[
        Path | None,
        typer.Option(help="File with the admin token. Default: LIMITER_ADMIN_TOKEN, or a token of its own in the data folder."),
    ] = None
    v1_token_file: Annotated[
        Path | None, typer.Option(help="File with the token that /v1 requires under `v1: token`. Default: LIMITER_V1_TOKEN.")
    ] = None
    upstream: Annotated[str | None, typer.Option(help="URL of an API: the front is a reverse proxy to it. Default: no proxy.")] = None
    workers: Annotated[int, typer.Option(min=1, max=256, help="Number of processes that serve the front.")] = 1
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain in PEM, to terminate TLS at the front. Needs --tls-key.")] = None
    tls_key: Annotated[Path | None, typer.Option(help="Private key of the certificate in PEM.")] = None
    data: Data = None
    access_log: Annotated[bool, typer.Option("--access-log", help="Log a line for every request.")] = False

    def can_require(self, v1_token: str | None) -> bool:
        """Whether this sidecar can run under `v1: token`. As a proxy it does not serve /v1, so it needs no token."""
        return v1_token is not None or self.upstream is not None
