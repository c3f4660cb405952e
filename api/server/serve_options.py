"""The options of `limiter serve`, with their help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[Path | None, typer.Option(help="The configuration file. Default: a sample in the data folder.")]
RedisUrl = Annotated[
    str | None,
    typer.Option(envvar="LIMITER_REDIS_URL", help="URL of Redis. Default: the configuration's redis.url, or the embedded Redis."),
]
Host = Annotated[str, typer.Option(help="Address of the front listener.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port of the front listener. 0 picks a free one.")]
AdminHost = Annotated[str, typer.Option(help="Address of the admin listener.")]
AdminPort = Annotated[int, typer.Option(min=0, max=65535, help="Port of the admin listener. 0 picks a free one.")]
TokenFile = Annotated[
    Path | None, typer.Option(help="File with the admin token. Default: LIMITER_ADMIN_TOKEN, or a new token that is printed at the start.")
]
Upstream = Annotated[str | None, typer.Option(help="URL of an API: the front is a reverse proxy to it. Default: no proxy.")]
Workers = Annotated[int, typer.Option(min=1, max=256, help="Number of processes that serve the front.")]
Certificate = Annotated[Path | None, typer.Option(help="Certificate chain in PEM, to terminate TLS at the front. Needs --tls-key.")]
CertificateKey = Annotated[Path | None, typer.Option(help="Private key of the certificate in PEM.")]
Data = Annotated[Path | None, typer.Option(help="The sidecar's data folder. Default: $XDG_DATA_HOME/limiter or ~/.local/share/limiter.")]
AccessLog = Annotated[bool, typer.Option("--access-log", help="Log a line for every request.")]


@dataclass(frozen=True, slots=True)
class ServeOptions:
    config: Config = None
    redis: RedisUrl = None
    host: Host = "127.0.0.1"
    port: Port = 8080
    admin_host: AdminHost = "127.0.0.1"
    admin_port: AdminPort = 8081
    admin_token_file: TokenFile = None
    upstream: Upstream = None
    workers: Workers = 1
    tls_cert: Certificate = None
    tls_key: CertificateKey = None
    data: Data = None
    access_log: AccessLog = False
