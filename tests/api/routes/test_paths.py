"""Whatever a server makes of an accepted path, the request has met the route of that reading."""

import gc
import re
import sys
from itertools import combinations, permutations
from urllib.parse import quote, unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from limiter.api.routes import faults, paths
from limiter.api.routes.faults import MAX_LENGTH, RefusedPath
from limiter.api.routes.matching import Route, Routes
from limiter.api.routes.patterns import parse_pattern

PATTERNS = ["/a", "/a/*", "/b/**", "/*/a", "/a/b/c", "/*/b/*", "/%C3%BC/a", "/a/%3F", "/a/%2561", "/{x}"]


def routes(mode="strict"):
    found = Routes(mode)
    for cost, pattern in enumerate(PATTERNS, 2):
        found.add(parse_pattern(pattern).segments, None, Route(cost, scope=f"s{cost}"))
    return found


STRICT, WITH_SLASHES = routes(), routes("encoded-slashes")


def refusal(path, found=STRICT):
    with pytest.raises(RefusedPath) as refused:
        found.find("GET", path)
    return refused.value.fault


@pytest.mark.parametrize(
    ("reason", "refused"),
    [
        ("not-absolute", ["", "*", "a", "a/b", "http://host/a", "HTTPS://host", "?x", "%2Fa", "\\a", ".", "host:80"]),
        ("empty-segment", ["//", "//a", "//evil/a", "/a//b", "/a//", "/;/a", "/a/;x/b", "/a/%3Bx/b", "/%2Fx"]),
        ("dot-segment", ["/.", "/..", "/a/./b", "/a/../b", "/a/..", "/%2e", "/%2E%2e/a", "/.%2e/a", "/a/..;/b", "/a/..;x=y", "/a/..%3Fb"]),
        ("backslash", ["/\\evil/a", "/a\\b", "/a%5Cb", "/a%5cb", "/a%5C..%5Cb"]),
        ("encoded-slash", ["/a%2Fb", "/a%2fb", "/a%2F"]),
        ("fragment", ["/a#b", "/#", "/health#/../a"]),
        ("control-character", ["/a%00", "/a%0Ab", "/%09", "/%7F", "/a%1fb"]),
        ("not-encoded", ["/a b", "/a ", "/a\t", "/a\x00b", "/\x7f", "/\u00c3\u00bc", "/\u00fc", "/\uff0f"]),
        ("invalid-escape", ["/%", "/a%2", "/a%zzb", "/%%", "/%u002f", "/%%41", "/100%", "/%-1", "/%+1"]),
        ("invalid-utf-8", ["/%ff", "/%C0%AFa", "/%C0%AE%C0%AE/a", "/%E0%80%AF", "/%ED%A0%80", "/%C3"]),
        ("encoded-twice", ["/a%252Fb", "/%252e%252e/a", "/a%255Cb", "/a%2500", "/a%252541", "/a%25%32%46b", "/a;/%252e", "/%25ff"]),
    ],
)
def test_a_path_that_servers_read_differently_is_refused_with_a_reason(reason, refused):
    for path in refused:
        fault = refusal(path)
        assert (path, fault.status, fault.reason) == (path, 400, f"path-{reason}")


def test_a_path_of_4096_characters_is_accepted_and_a_longer_one_is_refused_with_414():
    for first in ("a", "%41", "/b"):
        path = f"/{first}".ljust(MAX_LENGTH, "x").replace("//", "/x")
        STRICT.find("GET", path)
        STRICT.find("GET", f"{path}?{path}")
        assert (refusal(f"{path}x").status, refusal(f"{path}x").reason) == (414, "path-too-long")


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/a", "/a/", "/a.b", "/...", "/.well-known/x", "/a..b/c..", "/a%20b", "/100%25", "/100%25%20sure", "/5%25off", "/a+b"),
        *("/~user", "/a:b@c", "/v1/x:verb", "/cars;color=red/7;a,b", "/;jsessionid=1", "/c%23", "/who%3F", "/%3F", "/tags/%23", "/a%2Bb"),
        *(
            "/gr%C3%B6%C3%9Fe",
            "/%E4%B8%AD",
            "/%EF%BC%8Fx",
            "/%F0%9F%98%80",
            "/%61",
            "/a%2Eb",
            "/Really%3F.",
            "/My%2520File",
            "/a|b",
            "/[x]",
        ),
        *("/{x}", "/a=b&c=d", "/a!$'()*,", "/a?b=/../c", "/a?//"),
    ],
)
def test_a_path_that_clients_send_is_accepted(path):
    STRICT.find("GET", path)


NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/\\%"), min_size=1, max_size=6)


@given(st.lists(NAMES, max_size=5), st.sampled_from(["", "!$&'()*+,;=:@~", ":@"]))
def test_names_that_a_client_encodes_are_accepted_and_read_back(names, unescaped):
    assume(all(name.partition(";")[0] not in ("", ".", "..") and not re.match(r"\.{1,2}[?#;]", name) for name in names))
    path = "/" + "/".join(quote(name, safe=unescaped) for name in names)
    assert next(iter(paths.readings(path, 10, "strict"))) == names


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters=" ?#")))
def test_escapes_are_decoded_as_the_standard_library_does(text):
    path = f"/a{text}"
    fault, read = None, []
    try:
        read = next(iter(paths.readings(path, len(path), "strict")))
    except RefusedPath as refused:
        fault = refused.fault
    assert (fault is faults.INVALID_ESCAPE) == bool(re.search("%(?![0-9A-Fa-f]{2})", text))
    assert fault or "/" + "/".join(read) == unquote(path).removesuffix("/")


# What some server does to a path. One that decodes does so at least once.
STEPS = {
    "decode": unquote,
    "again": unquote,
    "backslashes": lambda path: path.replace("\\", "/"),
    "parameters": lambda path: re.sub(r";[^/]*", "", path),
    "end": lambda path: re.split(r"[?#]", path, maxsplit=1)[0],
    "slashes": lambda path: re.sub("/+", "/", path),
    "dots": lambda path: "/" + "/".join(resolved(path.split("/")[1:])),
    "authority": lambda path: re.sub("^//[^/]*", "", path),
}
OPTIONAL = [step for step in STEPS if step != "decode"]
# Each server takes three of the steps besides decoding, in one of the orders.
ORDERS = [order for chosen in combinations(OPTIONAL, 3) for order in permutations(("decode", *chosen))]


def resolved(names):
    walked = []
    for name in names:
        if name == "..":
            walked[-1:] = []
        elif name != ".":
            walked.append(name)
    return walked


def route_of(segments):
    """The first route that matches, in the simplest implementation."""
    names = [name for name in segments if name]
    for cost, pattern in enumerate(PATTERNS, 2):
        parts = [unquote(part) for part in pattern.split("/")[1:]]
        long_enough = len(names) >= len(parts) - 1 if parts[-1] == "**" else len(names) == len(parts)
        if long_enough and all(part in ("*", "{x}", "**", name) for part, name in zip(parts, names, strict=False)):
            return Route(cost, scope=f"s{cost}")
    return Route()


PARTS = ["a", "b", "c", "/a", "/b", "/a/b/c", "/", "//", "\\", ".", "..", "/.", "/..", "/..;", ";", ";x", "?", "#"]
PARTS += ["%", "%61", "%2F", "%5c", "%2e", "%3B", "%3F", "%23", "%C3%BC", "%25"]
PARTS += ["%2561", "%252F", "%252e", "%255C", "%253B", "%253F", "%25C3%25BC", "%2525"]
ODD_PATHS = st.lists(st.sampled_from(PARTS), max_size=9).map(lambda parts: "/" + "".join(parts))


@given(ODD_PATHS, st.lists(st.sampled_from(ORDERS), min_size=20, max_size=20))
def test_the_route_of_each_reading_applies_whatever_a_server_does_in_whichever_order(path, orders):
    try:
        judged = STRICT.find("GET", path)
    except RefusedPath:
        return
    for order in orders:
        read = path.partition("?")[0]
        for step in order:
            read = STEPS[step](read)
        assert covers(judged, route_of(read.split("/"))), (path, order, read)


@given(ODD_PATHS.map(lambda path: path.replace("%252F", "%2F")), st.booleans(), st.booleans())
def test_with_encoded_slashes_a_route_with_the_slash_as_data_and_one_with_it_as_a_slash_apply(path, parameters, splits_first):
    try:
        judged = WITH_SLASHES.find("GET", path)
    except RefusedPath:
        return
    read = path.partition("?")[0]
    read = STEPS["parameters"](read) if parameters else read
    segments = [unquote(name).replace("/", "%2F") for name in read.split("/")] if splits_first else unquote(read).split("/")
    assert covers(judged, route_of(segments)), (path, segments)


def covers(judged, route):
    """Whether a request that meets `judged` meets `route`."""
    return judged.cost >= route.cost and (route.scope is None or route.scope in judged.scope.split())


def test_reading_a_path_takes_as_many_steps_of_python_for_a_long_path_as_for_a_short_one():
    """So what grows with the path is a single pass of functions in C, whose regular expressions do not backtrack."""

    def steps(path):
        count = 0

        def trace(*_):
            nonlocal count
            count += 1
            return trace

        before = sys.gettrace()
        # Programs can ask to be called at each collection, and their steps would count.
        gc.disable()
        sys.settrace(trace)
        try:
            STRICT.find("GET", path)
        except RefusedPath:
            pass
        finally:
            sys.settrace(before)
            gc.enable()
        return count

    units = ["x", "x/", "%41", "%C3%BC", "x;", "x;y/", "%25", "%2541", ".x/", "%3F", "//", "/..", "%2F", "\\", "%", "%C3", "=", "\u00fc"]
    for unit in units:
        short, long = (steps("/" + (unit * MAX_LENGTH)[:length]) for length in (300, MAX_LENGTH - 10))
        assert long <= short + 10, unit
        assert long < 300, unit
