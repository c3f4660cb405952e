"""JSON bodies: valid ones, trees with one wrong value, and texts that are hardly JSON."""

import json
import time
from random import Random
from typing import Any

from support.hostile.scene import POLICIES, SECRET

# Bounded, so that the keys in Redis can be counted. Separators of keys, braces, patterns, spellings that normalize to the same text.
SUBJECTS = (
    *("key-1", "a:b", "a:bulk", ":", "::", "a{b", "{a}", "}{", "{", "*", "?", "[a]", "lim:{x}:y", "gen", "records", "a b", "\ta", "a\n"),
    *("a\r\nb", "\x00", "\x7f", "\x85", "\u00a0", "\u2028", "\u200b", "\u202e", "\ufeff", "e\u0301", "\u00e9", "\u212b", "\u00c5"),
    *("\uff21", "\U0001f600", "\ud800", "\udfff", "\U0010ffff", "\ufffe", "127.0.0.1", "::ffff:1.2.3.4", "fe80::1%eth0", "2001:db8::/64"),
    *("0177.0.0.1", "unknown", "null", "0", "-1", "1e3", "\\", "'", '"', "a" * 255, "a" * 256, "a" * 257, "\u00e9" * 256),
    *("\U0001f600" * 256, "a" * 70_000, "", " ", "../x", "%00", "${x}", "__proto__", "constructor"),
)
COSTS = (
    *(0, 1, 2, 5, 100, 999_999, 2**31, 2**32 - 1, 2**32, 2**53 - 1, 2**53, 2**63, 2**64, -1, -(2**53), 10**400, 1.0, 1.5, True, "1"),
    None,
)
# Times of takes in refunds: just now, long ago, in the future, the first and the last. Only the first three differ from run to run.
_NOW = time.time()
TIMES = (_NOW, _NOW - 59.999999, int(_NOW), 0, 0.0, -0.0, 1e-9, 1, 1800014400.123456, 4_294_967_295, 4294967295.999999)
WRONG_TIMES = (-1, -1e-9, -1e300, 2**32, 2**53, 2**63, 1e308, 10**400, str(_NOW), "", None, True, [], {}, [_NOW], {"at": _NOW})
ODD = (
    *(None, True, False, 0, -1, 1.5, 1e308, 10**30, "", "x", [], {}, [[]], [None], {"": ""}, {"policy": {}}, "bulk", ["bulk"], "\ud800"),
    *("\x00", "a" * 5000, {"__proto__": 1}, [1] * 1001, [{}] * 20, "NaN", 2**63, -0.0),
)
# Texts that no serializer writes, put in place of a value.
RAW_VALUES = (
    *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1E+2", "01", "+1", "1.", ".5", "0x10", "1_000", "--1", "9" * 5000),
    *("0." + "1" * 5000, "1e-99999", '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\\x41"', '"a\nb"', "'a'", "undefined", "nan"),
    *("TRUE", "[1,]", '{"a":1,}', '{"a":1 "b":2}', "/**/1", '"open', '{"policy":"bulk","policy":"five"}', '{"a":{"a":1},"a":2}'),
    *("[" * 200 + "]" * 200, "[" * 50_000, "[" * 990 + "]" * 990),
)
_PLACE = "kJ2place"


def call(rng: Random, *, refund: bool) -> dict[str, Any]:
    """A valid body of `/v1`: one charge, a group, or a batch. Those of a refund say when the units were taken."""
    if rng.random() < 0.2:
        return {"requests": [_one(rng, refund=refund) for _ in range(rng.choice((1, 2, 5, 30)))]}
    return _one(rng, refund=refund)


def mutated_call(rng: Random, *, refund: bool) -> bytes:
    """May still be valid, or may hardly be JSON."""
    body = call(rng, refund=refund)
    if refund and rng.random() < 0.3:
        place = body if "requests" not in body else rng.choice(body["requests"])
        place["at"] = rng.choice(WRONG_TIMES)
        return _encoded(rng, body)
    return mutated(rng, body, _odd_leaf)


def mutated(rng: Random, body: dict[str, Any], odd_leaf=None) -> bytes:
    kind = rng.random()
    if kind < 0.55:
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            body = _replaced(rng, body, odd_leaf or _any_odd)
        return _encoded(rng, body)
    if kind < 0.75:
        body = _replaced(rng, body, lambda _, __: _PLACE)
        raw = rng.choice(RAW_VALUES) if rng.random() < 0.8 else nested(rng.randrange(900, 1000))
        return _encoded(rng, body).replace(f'"{_PLACE}"'.encode(), raw.encode("utf-8", "surrogatepass"))
    if kind < 0.85:
        return _doubled(rng, body)
    return _torn(rng, json.dumps(body).encode())


def nested(depth: int) -> str:
    """Near 1,000, some step of reading, checking or quoting the value exceeds Python's limit of recursion."""
    return '{"a":' * depth + "1" + "}" * depth


def _one(rng: Random, *, refund: bool) -> dict[str, Any]:
    body = rng.choices((_single, _group), (2, 1))[0](rng)
    return body | {"at": rng.choice(TIMES)} if refund else body


def _single(rng: Random) -> dict[str, Any]:
    body = {"policy": rng.choice(POLICIES), "subject": f"s{rng.randrange(100)}"}
    if rng.random() < 0.5:
        body["cost"] = rng.choice((0, 1, 2, 10))
    if rng.random() < 0.3:
        body["account"] = f"a{rng.randrange(20)}"
    return body


def _group(rng: Random) -> dict[str, Any]:
    charges = [{"policy": policy, "subject": f"s{rng.randrange(100)}"} for policy in rng.sample(POLICIES, rng.randrange(1, 5))]
    return {"charges": charges, "account": f"a{rng.randrange(20)}"}


def _odd_leaf(rng: Random, name: object) -> Any:
    if name in ("subject", "account") and rng.random() < 0.8:
        return rng.choice(SUBJECTS)
    if name == "cost" and rng.random() < 0.8:
        return rng.choice(COSTS)
    if name == "at" and rng.random() < 0.8:
        return rng.choice((*TIMES, *WRONG_TIMES))
    return rng.choice(ODD)


def _any_odd(rng: Random, _: object) -> Any:
    return rng.choice(ODD) if rng.random() < 0.5 else rng.choice(SUBJECTS)


def _replaced(rng: Random, body: Any, odd) -> Any:
    """One node of the tree is replaced, removed, or gets a new neighbor."""
    if not isinstance(body, dict | list) or not body or rng.random() < 0.05:
        return odd(rng, None)
    if isinstance(body, list):
        place = rng.randrange(len(body))
        return [_replaced(rng, each, odd) if n == place else each for n, each in enumerate(body)]
    body = dict(body)
    name = rng.choice([*body, "cost"])
    match rng.randrange(8):
        case 0:
            body.pop(name, None)
        case 1:
            body[rng.choice(("x", "", "Policy", "subject ", "requests", "charges", "\ud800", "__class__", "account", "at"))] = odd(
                rng, None
            )
        case 2 | 3 if isinstance(body.get(name), dict | list):
            body[name] = _replaced(rng, body[name], odd)
        case _:
            body[name] = _replaced(rng, body[name], odd) if isinstance(body.get(name), list) and rng.random() < 0.7 else odd(rng, name)
    return body


def _encoded(rng: Random, body: Any) -> bytes:
    text = json.dumps(body, ensure_ascii=rng.random() < 0.7)
    if rng.random() < 0.9:
        return text.encode("utf-8", "surrogatepass")
    return text.encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7")), "replace")


def _doubled(rng: Random, body: dict[str, Any]) -> bytes:
    """A field twice, with different values."""
    name = rng.choice([*body, "cost"])
    again = json.dumps({name: rng.choice((body.get(name), *ODD[:12]))})[1:-1]
    return f"{json.dumps(body | {name: 1})[:-1]}, {again}}}".encode("utf-8", "surrogatepass")


def _torn(rng: Random, text: bytes) -> bytes:
    at = rng.randrange(len(text) + 1)
    return rng.choice(
        (
            text[:at],
            text + text,
            text + b" ",
            b"\xef\xbb\xbf" + text,
            text[:at] + rng.randbytes(3) + text[at:],
            text[:at] + b"\x00" + text[at:],
            text[: max(0, at - 1)] + text[at:],
            b"",
            b" " * 1000,
            rng.randbytes(40),
            text + b"\x00" * 10,
            b"policy=bulk&subject=key-1",
            b"null",
            b'"' + text.replace(b'"', b"'") + b'"',
        )
    )


def admin_bodies(rng: Random) -> dict[str, Any]:
    """Something for any route of the admin API. Ids come from a small set."""
    return rng.choice(
        (
            {"id": f"acc{rng.randrange(12)}", "tier": rng.choice(("pro", "small", "none"))},
            {"tier": "small", "limits": ["100/minute"], "policy": None},
            {"name": "ci", "scopes": ["files:read"], "addresses": ["203.0.113.0/24"], "lifetime": 60},
            {"environment": "test", "lifetime": rng.choice((1, 0, -1, 1e300))},
            {"key": f"imported-{SECRET}-{rng.randrange(20)}", "name": "old"},
            {"sha256": "a" * 64},
            {"overlap": rng.choice((0, 5, 1e9))},
            {},
        )
    )
