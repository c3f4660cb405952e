"""Why a path is refused. The details are for people, and say what to send instead."""

from typing import Final, NamedTuple

MAX_LENGTH: Final = 4096


class Fault(NamedTuple):
    """An answer to every path of one kind. `reason` is for programs."""

    status: int
    reason: str
    detail: str


class RefusedPath(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


def _fault(reason: str, detail: str, status: int = 400) -> Fault:
    return Fault(status, f"path-{reason}", detail)


TOO_LONG: Final = _fault(
    "too-long", f"The path must have at most {MAX_LENGTH:,} characters: send long values in the query or the body.", 414
)
NOT_ABSOLUTE: Final = _fault("not-absolute", "The path must begin with one slash.")
FRAGMENT: Final = _fault("fragment", "The path must not contain #: send %23 if it is part of a name.")
NOT_ENCODED: Final = _fault("not-encoded", "The path must be printable ASCII: percent-encode spaces and, as UTF-8, every other character.")
INVALID_ESCAPE: Final = _fault(
    "invalid-escape", "Every % in the path must be followed by two hexadecimal digits: send a percent sign as %25."
)
INVALID_UTF_8: Final = _fault("invalid-utf-8", "The escapes of the path must be valid UTF-8.")
CONTROL: Final = _fault("control-character", "The path must not contain control characters (%00 to %1F, and %7F): remove them.")
BACKSLASH: Final = _fault("backslash", "The path must not contain a backslash or %5C, as some servers read it as a slash: send a slash.")
EMPTY_SEGMENT: Final = _fault(
    "empty-segment", "The path must not contain // or /;x/, as some servers read these as one slash: send one slash."
)
DOT_SEGMENT: Final = _fault(
    "dot-segment", "The path must not contain the segments . and .., in any encoding: resolve them before you send it."
)
ENCODED_SLASH: Final = _fault(
    "encoded-slash",
    "The path must not contain %2F: send a slash. If segments of this API contain slashes, it needs the setting paths: encoded-slashes.",
)
ENCODED_TWICE: Final = _fault("encoded-twice", "The path must be percent-encoded once: some servers decode %25 and two digits twice.")
AMBIGUOUS: Final = _fault(
    "ambiguous", "The path has several meanings, which fall under different policies: remove ;, %23, %25, %2F and %3F from it."
)
