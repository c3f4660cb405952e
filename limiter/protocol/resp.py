"""Redis's wire format, by hiredis: words to bytes, bytes to replies."""

from typing import Any, cast

import hiredis

NO_REPLY = object()


def pack(*words: bytes | str) -> bytes:
    """A command."""
    return cast("bytes", hiredis.pack_command(cast("Any", words)))


def reader() -> hiredis.Reader:
    """What is fed bytes and gives replies, NO_REPLY where there is none yet; an error that Redis replied is a reply."""
    return hiredis.Reader(notEnoughData=NO_REPLY)
