"""Conversations with Redis, without I/O: generators that yield commands, receive the replies, and return the result.

A command is sent again in two cases only, and in both nothing was charged: Redis does not have the script, or the calendar bounds that a
quota sent do not include Redis's time.
"""

import struct
from collections.abc import Generator, Sequence
from typing import Any, TypeVar

import hiredis

from limiter.errors import BackendError, shown
from limiter.protocol.call import Clock, Outcome, call_for
from limiter.protocol.group import Group
from limiter.protocol.resp import pack
from limiter.protocol.server_clock import ServerClock

T = TypeVar("T")
Conversation = Generator[bytes, Any, T]


def converse(groups: Sequence[Group], guess: ServerClock, injected: Clock | None) -> Conversation[list[Outcome]]:
    call = call_for(groups, guess, injected)
    reply = yield call.command
    if lacks_script(reply):
        reply = yield call.command_with_source
    try:
        now_us, verdicts, stale = call.decode(accepted(reply))
    except (TypeError, IndexError, struct.error):
        raise BackendError(f"Redis must reply with packed integers, not {shown(reply)}: check for a proxy in front of Redis") from None
    if stale:
        guess.learn(now_us)
        again = yield from converse([groups[i] for i in stale], guess, injected)
        for i, verdict in zip(stale, again, strict=True):
            verdicts[i] = verdict
    return verdicts


def erase(group: Group) -> Conversation[None]:
    accepted((yield pack(b"DEL", *group.keys)))


def lacks_script(reply: Any) -> bool:
    """Whether Redis has executed nothing because it does not have the script."""
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT")


def accepted(reply: Any) -> Any:
    """The reply, unless it is an error."""
    if isinstance(reply, Exception):
        raise BackendError(f"Redis refused: {reply}") from reply
    return reply
