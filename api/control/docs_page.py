"""The documentation page: static files without secrets, so browsers load them without the token. The page asks for the token itself."""

from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

DOCS = "/docs"

_FOLDER = Path(__file__).with_name("docs")
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def add_docs_page(app: Starlette) -> None:
    app.add_route(DOCS, _enter_folder)
    app.mount(DOCS, _Hardened(directory=_FOLDER, html=True))


async def _enter_folder(_: Request) -> Response:
    # A relative URL keeps the scheme, the host and the prefix of a reverse proxy.
    return RedirectResponse("docs/")


class _Hardened(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(_HEADERS)
        return response
