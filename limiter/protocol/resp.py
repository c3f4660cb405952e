"""Redis's wire format, by hiredis."""

from typing import Any, cast

import hiredis

NO_REPLY = object()


def pack(*words: bytes | str) -> bytes:
    return cast("bytes", hiredis.pack_command(cast("Any", words)))


def reader() -> hiredis.Reader:
    """Is fed bytes and returns replies, or NO_REPLY if none is complete. An error from Redis is a reply too."""
    return hiredis.Reader(notEnoughData=NO_REPLY)
