"""What uvicorn sends of a response, corrected."""

from typing import Any

from starlette.types import Message, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


async def run(cycle: RequestResponseCycle, app: Any) -> None:
    """Runs the application, and then frees the cycle.

    Its `send` and functions in its scope refer to it. So it would stay in memory, with its connection, until the garbage collector runs.
    """
    await cycle.run_asgi(app)
    del cycle.send
    cycle.scope.clear()  # type: ignore[attr-defined]


def dated_once(cycle: RequestResponseCycle) -> Send:
    send = cycle.send

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start" and any(name.lower() == b"date" for name, _ in message["headers"]):
            cycle.default_headers = [header for header in cycle.default_headers if header[0] != b"date"]
        await send(message)  # type: ignore[arg-type]

    return sending


def closing_at_the_end(cycle: RequestResponseCycle) -> Send:
    send, unknown_length = cycle.send, False

    async def send_unchunked(message: Message) -> None:
        nonlocal unknown_length
        if message["type"] == "http.response.start":
            unknown_length = not any(name.lower() == b"content-length" for name, _ in message["headers"])
            if unknown_length:
                cycle.chunked_encoding = False
        elif unknown_length:
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)  # type: ignore[arg-type]

    return send_unchunked
