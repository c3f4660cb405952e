"""The certificate of the front and its key, which are loaded again when their files change.

New handshakes use the new pair, and open connections go on. The files may be replaced one after the other, renamed, or be links that
change, as in Kubernetes. Until the pair is complete and fits, the previous one stays in force.
"""

import asyncio
import hashlib
import re
import ssl
from collections.abc import Callable
from pathlib import Path

import structlog

from limiter.api.command_errors import Misused
from limiter.api.server.watched_file import WatchedFile

_log = structlog.get_logger("limiter.front")

# The second file of a pair may be written some time after the first.
_CHECKS_UNTIL_REFUSED = 6
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def context_of(cert: Path, key: Path) -> ssl.SSLContext:
    """For TLS 1.2 and later. Raises Misused if the files are not a certificate chain and its key."""
    for path in (cert, key):
        _read(path)  # its error names the file, unlike those below
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key, lambda: _ask_nobody(key))
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None)
        if reason == "KEY_VALUES_MISMATCH":
            raise Misused(f"the key {key} must belong to the certificate {cert}, not to another one") from None
        raise Misused(f"the certificate {cert} or its key {key} cannot be used: both must be PEM ({reason or error})") from None
    return context


class Certificate:
    """Calls `use` with the context for new handshakes, at once and after each change."""

    def __init__(self, cert: Path, key: Path, use: Callable[[ssl.SSLContext], None]) -> None:
        self._paths, self._use = (cert, key), use
        self._files = WatchedFile(cert, _read), WatchedFile(key, _read)
        self._loaded = self._seen = self._state()
        self._checks = 0
        use(context_of(cert, key))

    async def watch(self, interval: float = 0.5) -> None:
        """Checks the files every `interval` seconds, without an end. A change takes effect after two checks."""
        while True:
            await asyncio.sleep(interval)
            self.check()

    def check(self) -> None:
        state = self._state()
        if state != self._seen:
            self._seen, self._checks = state, 0
        elif state != self._loaded and self._checks < _CHECKS_UNTIL_REFUSED:
            self._checks += 1
            self._load(state, is_last=self._checks == _CHECKS_UNTIL_REFUSED)

    def reload(self) -> None:
        """Loads the files now."""
        self._seen, self._checks = self._state(), _CHECKS_UNTIL_REFUSED
        if self._seen != self._loaded:
            self._load(self._seen, is_last=True)

    def _load(self, state: object, *, is_last: bool) -> None:
        try:
            context = context_of(*self._paths)
        except Misused as error:
            if is_last:
                _log.error("changed certificate rejected, the previous one stays in force", reason=str(error))
            return
        self._loaded = state
        self._use(context)
        _log.info("certificate reloaded", file=str(self._paths[0]), sha256=_fingerprint(self._files[0].content()))

    def _state(self) -> object:
        """The contents of the files, or why they cannot be read."""
        try:
            return tuple(file.content() for file in self._files)
        except Misused as error:
            return str(error)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise Misused(f"{path} cannot be used: {getattr(error, 'strerror', None) or error}") from None


def _ask_nobody(key: Path) -> str:
    raise Misused(f"the key {key} must not be encrypted: decrypt it with `openssl pkey -in {key}`, and protect the file")


def _fingerprint(chain: bytes) -> str:
    """The one that `openssl x509 -fingerprint -sha256` prints, without colons."""
    first = _PEM.search(chain.decode("ascii", "replace"))
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[0])).hexdigest() if first else ""
