"""The exceptions. A denial is a Decision, not an exception.

LimiterError
├── InvalidPolicy (also ValueError)   a limit, a policy, a charge or a setting is not valid; raised before anything is sent
├── IdempotencyConflict               an idempotency key was used for other charges; nothing was charged
├── LimitExceeded                     raised by `enforce` and `@limited` only; carries the decision (defined in `decision.py`)
└── BackendError                      Redis refused, failed or disconnected; carries its message
    ├── BackendTimeout                no answer within the deadline; the charge was made once or not at all
    └── OutOfDescriptors              this process cannot open a connection; no failure mode admits the call
"""

_MOST_SHOWN = 60

# How the message of a BackendError begins if the user, the password or a permission in Redis is wrong: waiting does not help.
ACCESS_DENIED = "Redis denies access"


def shown(value: object) -> str:
    """A value for an error message, cut short if it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # An integer with more digits than Python converts to text, or a value that is nested too deeply.
        return f"of {value.bit_length():,} bits" if isinstance(value, int) else type(value).__name__
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."


def printable(text: str) -> str:
    """With control characters as escapes: text that somebody else wrote must not send commands to a terminal, or begin another line."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


class LimiterError(Exception):
    """The root of all exceptions that this package raises on purpose."""


class InvalidPolicy(LimiterError, ValueError):
    """The message says what is wrong, what is accepted, and the value."""


class IdempotencyConflict(LimiterError):
    """The idempotency key was used for other charges, or the limits of a policy have changed since. Nothing was charged."""

    def __init__(self) -> None:
        super().__init__("idempotency key must be new for other charges, not one that was used in the last 10 minutes: use another key")


class BackendError(LimiterError):
    """Redis did not decide."""


class BackendTimeout(BackendError):
    """Redis did not decide within the deadline."""


class OutOfDescriptors(BackendError):
    """This process has no file descriptor left for a connection. That says nothing about Redis, so it is not an outage."""
