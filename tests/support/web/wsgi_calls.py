"""Calls a WSGI application as a server does. Both sides of a middleware are checked against the specification."""

from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from support.web.reply import Reply, reply


def call(app, path="/", method="GET", peer="203.0.113.7", **headers) -> Reply:
    started, written = [], []

    def start_response(status, headers, exc_info=None):
        if exc_info and written:
            raise exc_info[1]
        started.append((status, headers))
        return written.append

    parts = validator(app)(environ_of(path, method, peer, **headers), start_response)
    try:
        written.extend(parts)
    finally:
        parts.close()
    status, headers = started[-1]
    return reply(int(status[:3]), headers, b"".join(written))


def environ_of(path="/", method="GET", peer="203.0.113.7", **headers) -> dict:
    environ = {"SCRIPT_NAME": "", "PATH_INFO": path, "REQUEST_METHOD": method, "QUERY_STRING": "", "REMOTE_ADDR": peer}
    environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    setup_testing_defaults(environ)
    return environ


def responding(status="200 OK", *parts: bytes):
    """An application, checked against the specification."""

    def app(_environ, start_response):
        start_response(status, [("Content-Type", "text/plain"), ("X-RateLimit-Limit", "mine"), ("X-Own", "kept")])
        return list(parts)

    return validator(app)
