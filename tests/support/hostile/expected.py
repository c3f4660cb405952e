"""Which statuses each kind of request may get. When the sidecar's behavior changes, only this file changes.

A kind says what the request means, not how it was mutated. 503 is allowed for each kind, but only as load shedding: see `MOST_SHED`.
"""

from enum import Enum, auto

from limiter.problems import REDUCED_CAPACITY

# Of the replies, this share may be 503. Its problem type must be this one.
MOST_SHED, SHED_TYPE = 0.05, REDUCED_CAPACITY

# Headers of which a reply has one at most.
ONCE = {"date", "content-length", "content-type", "connection", "retry-after", "ratelimit", "ratelimit-policy", "x-ratelimit-limit"}


class Kind(Enum):
    GOOD = auto()  # an ordinary request with a key that has room
    EXEMPT = auto()
    REFUSED = auto()  # a credential that is missing, malformed, unknown, revoked, expired, or used from elsewhere
    CREDENTIAL = auto()  # several credentials, or one in an odd form: good or refused
    ODD_PATH = auto()  # a path that servers read differently, or none at all, and long ones
    FORWARDED = auto()  # headers of gateways, forged or contradictory
    ODD_HEAD = auto()  # unusual but well-formed headers, repeated ones, and heads up to and above the limit of 64 KiB
    COMPOUND = auto()  # several of these at once
    NOT_SERVED = auto()  # a path of no listener
    V1 = auto()  # a valid call of /v1
    V1_WRONG = auto()  # a wrong method, path, type or body
    V1_MISTIMED = auto()  # a refund without a valid time
    V1_FORWARDED = auto()  # a valid call with signs of a proxy
    V1_NO_TOKEN = auto()  # a valid call with a wrong token, two, or none
    V1_OTHER_HOST = auto()  # a valid call by a name that could be anybody's
    V1_PAGE = auto()  # a valid call from a web page
    V1_MUTATED = auto()  # a body that may have stayed valid
    ADMIN = auto()  # the right token and a mutated request
    ADMIN_OTHER_HOST = auto()  # by a name that could be anybody's
    NO_TOKEN = auto()  # a wrong admin token, or none
    OPEN_ADMIN = auto()  # health and the documentation page, which need no token
    REJECTED = auto()  # not HTTP/1.1, or ambiguous: 4xx or 5xx and the end of the connection
    REJECTED_BODY = auto()  # malformed after the head, which `/authorize` may have answered when the rest arrives
    OTHER_LINE = auto()  # a start line with another protocol or version, or with two spaces, which some parsers accept
    BROKEN = auto()  # bytes were mutated at random: valid or not


_REFUSED = {401, 403, 429}
# What well-formed requests to `/authorize` and to the proxy may get.
_JUDGED = {200} | _REFUSED
_MALFORMED = {400, 414, 431, 501, 505}

# Common to all fronts.
_FRONT: dict[Kind, set[int]] = {
    Kind.GOOD: {200},
    Kind.REFUSED: _REFUSED,
    Kind.CREDENTIAL: {200, 401, 429},
    Kind.ODD_PATH: {200, 400, 403, 414, 429},
    Kind.FORWARDED: {200, 400, 431},
    Kind.ODD_HEAD: {200, 401, 429, 431},
    Kind.COMPOUND: _JUDGED | {400, 414, 431},
    Kind.REJECTED: {400, 501},
    Kind.REJECTED_BODY: {400},
}

# With `gateway: envoy` and `v1: token`. From an address that is not trusted, headers of other gateways get 403.
AUTHORIZE: dict[Kind, set[int]] = {
    **_FRONT,
    Kind.EXEMPT: {200},
    Kind.FORWARDED: {200, 400, 403, 431},
    Kind.ODD_PATH: _FRONT[Kind.ODD_PATH] | {404},
    Kind.COMPOUND: _FRONT[Kind.COMPOUND] | {404},
    Kind.NOT_SERVED: {404},
    Kind.V1: {200},
    Kind.V1_WRONG: {404, 405, 413, 415},
    Kind.V1_MISTIMED: {400},
    Kind.V1_FORWARDED: {200},
    Kind.V1_NO_TOKEN: {401},
    Kind.V1_OTHER_HOST: {200},
    Kind.V1_PAGE: {200},
    Kind.V1_MUTATED: {200, 400, 404},
    Kind.REJECTED_BODY: {200, 400},
    Kind.OTHER_LINE: {400, 505},
    Kind.BROKEN: _JUDGED | _MALFORMED | {404},
}

# With `gateway: forwarded` and `v1: trusted`, from the trusted gateway.
BEHIND_A_GATEWAY: dict[Kind, set[int]] = {
    **AUTHORIZE,
    Kind.FORWARDED: {200, 400, 431},
    Kind.ODD_PATH: _FRONT[Kind.ODD_PATH],
    Kind.V1_FORWARDED: {200, 403},
    Kind.V1_NO_TOKEN: {200},
    Kind.V1_OTHER_HOST: {421},
    Kind.V1_PAGE: {403},
}

# From other addresses of this machine. They may call `/v1`, but only a trusted gateway may describe a client.
FROM_ELSEWHERE: dict[Kind, set[int]] = {
    **BEHIND_A_GATEWAY,
    **{kind: {403} for kind in (Kind.GOOD, Kind.REFUSED, Kind.CREDENTIAL, Kind.ODD_PATH)},
    **{kind: {403, 431} for kind in (Kind.FORWARDED, Kind.ODD_HEAD, Kind.COMPOUND)},
}

# As a proxy, everything that is admitted reaches upstream, which answers 200. It refuses a malformed Host, and other versions of HTTP.
PROXY: dict[Kind, set[int]] = {
    **_FRONT,
    Kind.ODD_HEAD: _FRONT[Kind.ODD_HEAD] | {400},
    Kind.OTHER_LINE: {400, 505},
    Kind.BROKEN: _JUDGED | _MALFORMED,
}

_MANAGED = {200, 201, 204, 400, 404, 409, 413, 422}

ADMIN: dict[Kind, set[int]] = {
    Kind.ADMIN: _MANAGED,
    Kind.ADMIN_OTHER_HOST: {421},
    Kind.ODD_PATH: {200, 204, 307, 400, 404, 405, 422},
    Kind.NO_TOKEN: {401},
    Kind.OPEN_ADMIN: {200, 307, 404},
    Kind.REJECTED: {400, 501},
    Kind.REJECTED_BODY: {400, 401},
    Kind.OTHER_LINE: {400, 505},
    Kind.BROKEN: _MANAGED | _MALFORMED | {307, 401, 405, 421},
}
