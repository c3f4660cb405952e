"""Which statuses each kind of request may get. When the sidecar's behavior changes, only this file changes.

A kind says what the request means, not how it was mutated. 503 is allowed for each kind, but only as load shedding: see `MOST_SHED`.
"""

from enum import Enum, auto

from limiter.problems import REDUCED_CAPACITY

# Of the replies, this share may be 503. Its problem type must be this one.
MOST_SHED, SHED_TYPE = 0.05, REDUCED_CAPACITY

# Headers of which a reply has one at most. `date` is to be added: the proxy sends two.
ONCE = {"content-length", "content-type", "connection", "retry-after", "ratelimit", "ratelimit-policy", "x-ratelimit-limit"}


class Kind(Enum):
    GOOD = auto()  # an ordinary request with a key that has room
    EXEMPT = auto()
    REFUSED = auto()  # a credential that is missing, malformed, unknown, revoked, expired, or used from elsewhere
    CREDENTIAL = auto()  # several credentials, or one in an odd form: good or refused
    ODD_PATH = auto()  # a path that servers read differently, or none at all
    FORWARDED = auto()  # headers of gateways, forged or contradictory
    ODD_HEAD = auto()  # unusual but well-formed headers, up to and above the limit of 64 KiB
    NOT_SERVED = auto()  # a path of no listener
    V1 = auto()  # a valid call of /v1
    V1_WRONG = auto()  # a wrong method, path, type or body
    V1_FORWARDED = auto()  # a call for somebody else
    V1_MUTATED = auto()  # a body that may have stayed valid
    ADMIN = auto()  # the right token and a mutated request
    NO_TOKEN = auto()  # a wrong admin token, or none
    OPEN_ADMIN = auto()  # health and the documentation page, which need no token
    REJECTED = auto()  # not HTTP/1.1, or ambiguous: 4xx or 5xx and the end of the connection
    LENIENT = auto()  # a start line with another version, or with two spaces, which some parsers accept
    BROKEN = auto()  # bytes were mutated at random: valid or not


_DECIDED = {200, 429}
_REFUSED = {401, 403, 429}
_JUDGED = _DECIDED | _REFUSED
_MALFORMED = {400, 408, 414, 431, 501, 505}

AUTHORIZE: dict[Kind, set[int]] = {
    Kind.GOOD: _DECIDED,
    Kind.EXEMPT: {200},
    Kind.REFUSED: _REFUSED,
    Kind.CREDENTIAL: _JUDGED,
    Kind.ODD_PATH: _JUDGED | {400, 404},
    Kind.FORWARDED: _JUDGED | {400, 431},
    Kind.ODD_HEAD: _JUDGED | {400, 431},
    Kind.NOT_SERVED: {404},
    Kind.V1: {200},
    Kind.V1_WRONG: {400, 403, 404, 405, 413, 415},
    Kind.V1_FORWARDED: {200, 403},
    Kind.V1_MUTATED: {200, 400, 403, 404, 413},
    Kind.REJECTED: _MALFORMED,
    Kind.LENIENT: _DECIDED | {400, 505},
    Kind.BROKEN: _JUDGED | _MALFORMED | {404, 405, 413, 415},
}

# As a proxy, everything that is admitted reaches upstream, which answers 200. The proxy refuses some requests that are only admitted.
PROXY: dict[Kind, set[int]] = {
    **{kind: AUTHORIZE[kind] for kind in (Kind.GOOD, Kind.REFUSED, Kind.CREDENTIAL, Kind.ODD_PATH, Kind.FORWARDED, Kind.ODD_HEAD)},
    Kind.REJECTED: _MALFORMED,
    Kind.LENIENT: _DECIDED | {400, 505},
    Kind.BROKEN: _JUDGED | _MALFORMED,
}

_MANAGED = {200, 201, 204, 307, 400, 401, 404, 405, 409, 413, 415, 422}

ADMIN: dict[Kind, set[int]] = {
    Kind.ADMIN: _MANAGED,
    Kind.ODD_PATH: _MANAGED,
    Kind.NO_TOKEN: {400, 401},
    Kind.OPEN_ADMIN: {200, 307, 400, 404, 405},
    Kind.REJECTED: _MALFORMED,
    Kind.LENIENT: {400, 401, 404, 505},
    Kind.BROKEN: _MANAGED | _MALFORMED,
}
