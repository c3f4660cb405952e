"""What can go wrong, as exceptions. A denial is none of them: it is a Decision.

LimiterError
├── InvalidPolicy (also ValueError)   a limit, a policy, a charge or a setting that cannot be; raised before anything is sent
├── LimitExceeded                     only from `enforce` and `@limited`, the helpers made to raise; carries the decision
└── BackendError                      Redis refused, failed or went away; carries what it said
    └── BackendTimeout                no answer within the deadline; the charge may or may not have been made, never twice
"""

from __future__ import annotations

_MOST_SHOWN = 60


def shown(value: object) -> str:
    """A value as an error names it: cut short, where it would drown the message."""
    try:
        text = repr(value)
    except ValueError:
        # An integer of more digits than Python will write out.
        return f"of {value.bit_length():,} bits" if isinstance(value, int) else type(value).__name__
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."


class LimiterError(Exception):
    """The base of everything that this package raises on purpose."""


class InvalidPolicy(LimiterError, ValueError):
    """The value is named, and so is the remedy."""


class BackendError(LimiterError):
    """Redis did not decide."""


class BackendTimeout(BackendError):
    """Redis did not decide within the deadline."""
