"""The configuration of a sidecar under attack, and its keys. Each raw key contains SECRET, which must never appear anywhere."""

from support.servers.sidecar import digest

SECRET = "Hush9Zq7"  # noqa: S105 - a marker

# Of the decision API, in the environment of the sidecar.
V1_TOKEN = f"token-of-v1-{SECRET}"

# Keys with room for the whole attack: each admission is counted against the quota of their account too.
GOOD = [f"good-{n}-{SECRET}-raw" for n in range(8)]
# Unused until the attack is over.
AFTERWARDS = [f"afterwards-{n}-{SECRET}-raw" for n in range(4)]
# Admitted exactly CAPPED_CAPACITY times during the attack.
CAPPED = f"capped-{SECRET}-raw"
CAPPED_CAPACITY = 40
REFUSED = {name: f"{name}-{SECRET}-raw" for name in ("revoked", "expired", "elsewhere", "suspended")}
ACCOUNT, TOTAL = "acme", "total"
TOTAL_CAPACITY = 1_000_000_000

POLICIES = ("bulk", "total", "five", "capped", "anonymous", "guessing", "mixed")

_CONFIG = """
policies:
  bulk: {{ limits: [1000000/minute] }}
  total: {{ limits: [quota {total}/month] }}
  five: {{ limits: [5/minute] }}
  capped: {{ limits: [quota {capped}/month] }}
  anonymous: {{ limits: [1000000/minute] }}
  guessing: {{ limits: [500/minute] }}
  mixed: {{ limits: [1000/minute, "burst 50, 100/second", quota 100000/day, shadow 5/hour] }}
failure: closed
v1: {v1}
redis: {{ prefix: {prefix}, deadline: 20s }}
tiers:
  pro: {{ key: bulk, account: total }}
  small: {{ key: five }}
  tiny: {{ key: capped }}
identify:
  {anonymous}
  guard: guessing
  gateway: {gateway}
  trusted_proxies: [127.0.0.1]
routes:
  {exempt}
  - {{ path: "/convert/**", method: POST, scope: "convert:write" }}
  - {{ path: "/files/{{id}}/**", scope: "files:read" }}
  - {{ path: /public, policy: anonymous }}
accounts:
  gone: {{ tier: pro, state: suspended }}
keys:
{keys}
"""


def config(prefix: str, *, gateway: str = "none", v1: str = "off", proxy: bool = False) -> str:
    """A proxy has neither exempt routes nor anonymous callers, so that every request that reaches upstream was counted for a key."""
    keys = [_key(raw, account=ACCOUNT, tier="pro") for raw in GOOD]
    keys += [_key(raw, tier="small") for raw in AFTERWARDS]
    keys += [_key(CAPPED, tier="tiny")]
    keys += [
        _key(REFUSED["revoked"], tier="small", state="revoked"),
        _key(REFUSED["expired"], tier="small", expires="2020-01-01"),
        _key(REFUSED["elsewhere"], tier="small", addresses="[203.0.113.0/24]"),
        _key(REFUSED["suspended"], account="gone"),
    ]
    return _CONFIG.format(
        prefix=prefix,
        gateway=gateway,
        v1=v1,
        total=TOTAL_CAPACITY,
        capped=CAPPED_CAPACITY,
        anonymous="" if proxy else "anonymous: anonymous",
        exempt="" if proxy else "- { path: /health, exempt: true }",
        keys="\n".join(keys),
    )


def subject(raw: str) -> str:
    """The subject of a key is its name in the file."""
    return raw.removesuffix(f"-{SECRET}-raw")


def _key(raw: str, **fields: str) -> str:
    stated = "".join(f", {name}: {value}" for name, value in fields.items())
    return f'  - {{ name: {subject(raw)}, digest: "sha256:{digest(raw)}"{stated} }}'
