"""A request takes the first route whose method and pattern match, and no spelling of a path bypasses a route.

How paths are read is tested in routes/test_paths.py.
"""

import timeit
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limiter.api.config.loader import loads
from limiter.api.routes.faults import MAX_LENGTH, RefusedPath

POLICIES = "policies: {standard: {limits: [100/minute]}, uploads: {limits: [10/minute]}, loose: {limits: [999/minute]}}\n"
BASE = POLICIES + "tiers: {free: {key: standard}}\nroutes:\n"


def rules(*routes, paths="strict"):
    return loads(BASE + "".join(f"  - {{ {route} }}\n" for route in routes) + f"paths: {paths}\n")


def name(found, path, method="GET"):
    return found.route(method, path).name


def test_a_request_that_matches_no_route_costs_1_and_needs_no_scope():
    for found in (loads(BASE.removesuffix("routes:\n")), rules("path: /a")):
        route = found.route("GET", "/b")
        assert (route.name, route.cost, route.policy, route.exempt, route.scope) == ("unmatched", 1, None, False, None)


def test_a_route_has_the_fields_of_the_file():
    found = rules("path: /health, exempt: true", "path: /convert/*, method: POST, cost: 5, scope: 'convert:write', policy: uploads")
    assert found.route("GET", "/health").exempt
    route = found.route("POST", "/convert/17")
    assert (route.name, route.cost, route.scope, route.exempt) == ("/convert/*", 5, "convert:write", False)
    assert route.policy is found.policies["uploads"]


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("/", ["/", "/?a"], ["/a"]),
        ("/a", ["/a", "/a/", "/a?b=/c", "/%61"], ["/", "/A", "/a/b", "/aa"]),
        ("/a/", ["/a", "/a/"], ["/a/b"]),
        ("/a/*", ["/a/b", "/a/b/", "/a/%2e%2e%2e"], ["/a", "/a/", "/a/b/c"]),
        ("/a/{id}/b", ["/a/1/b"], ["/a/b", "/a/1/2/b", "/a/1"]),
        ("/a/**", ["/a", "/a/", "/a/b", "/a/b/c"], ["/ab", "/"]),
        ("/**", ["/", "/a", "/a/b"], []),
        ("/*/b", ["/a/b", "/b/b"], ["/b", "/a/c"]),
        ("/größe/%41", ["/gr%C3%B6%c3%9fe/A"], ["/gro%C3%9Fe/A"]),
        ("/.well-known/x", ["/.well-known/x"], ["/well-known/x"]),
    ],
)
def test_a_pattern_matches_exactly_the_paths_that_it_describes(pattern, matching, others):
    found = rules(f"path: '{pattern}'")
    assert [name(found, path) for path in matching] == [pattern] * len(matching)
    assert [name(found, path) for path in others] == ["unmatched"] * len(others)


def test_the_first_matching_route_applies():
    found = rules("path: /a/b", "path: /a/*", "path: /**", "path: /c")
    assert [name(found, path) for path in ("/a/b", "/a/c", "/c", "/a")] == ["/a/b", "/a/*", "/**", "/**"]
    found = rules("path: /a/*", "path: /a/b/*", "path: /*/b/c")
    assert [name(found, path) for path in ("/a/b", "/a/b/c", "/x/b/c")] == ["/a/*", "/a/b/*", "/*/b/c"]


def test_a_route_matches_only_its_methods_and_get_includes_head():
    found = rules("path: /a, method: GET", "path: /a, method: [POST, PUT], cost: 2", "path: /**, cost: 3")
    assert [found.route(method, "/a").cost for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "get")] == [1, 1, 2, 2, 3, 3]


def found_by(found, method, path):
    """None if the path is refused."""
    try:
        return found.route(method, path)
    except RefusedPath:
        return None


@pytest.mark.parametrize(
    "path",
    [
        *("/convert/x", "//convert//x", "/convert/x/", "/%63onvert/x", "/c%6Fnvert/x", "/convert/x?y", "/convert/x#y", "/convert/%78"),
        *(
            "/./convert/x",
            "/a/../convert/x",
            "/../convert/x",
            "/%2e%2e/convert/x",
            "/convert/./x",
            "/convert/y/../x",
            "/convert/.%2e/convert/x",
        ),
        *("/convert%2Fx", "/convert%2fx", "%2Fconvert/x", "/convert%5Cx", "/convert\\x", "\\convert\\x", "/a%2F..%2Fconvert%2Fx"),
        *("/convert;v=1/x", "/convert;/x", "/;/convert/x", "/convert/x;jsessionid=1", "/a/..;/convert/x", "/a/..;x=y/convert/x"),
        *("http://host/convert/x", "HTTP://h:80/convert/x?y", "convert/x", "/a//../convert/x", "/a/b//../../../convert/x"),
        *("/health/../convert/x", "/convert/x/../../health/../convert/x", "/convert/..%2fhealth", "/convert/%2e%2e%2fhealth"),
        *("/convert/..\\health", "/%2563onvert/x", "/convert%252Fx", "/convert/x%3Fy", "/convert/x%23y", "/convert/%3By", "/%2F/convert/x"),
    ],
)
def test_no_spelling_bypasses_a_route(path):
    """Some server reads each of these as /convert/x. As `/health` it would be exempt."""
    for mode in ("strict", "encoded-slashes"):
        route = found_by(
            rules("path: /health, exempt: true", "path: /convert/*, cost: 5, scope: 'convert:write'", paths=mode), "POST", path
        )
        assert route is None or (route.exempt, route.cost, route.scope, route.name) == (False, 5, "convert:write", "/convert/*")
        found = rules("path: /health, exempt: true", "path: /convert/*, policy: uploads", "path: /status/*, policy: loose", paths=mode)
        route = found_by(found, "POST", path)
        assert route is None or (route.exempt, route.policy) == (False, found.policies["uploads"])


@pytest.mark.parametrize("path", ["/health;x", "/health%3Bx", "/health%3Fx", "/health%23x", "/%2568ealth", "/health%2F", "/health%2Fx"])
def test_a_path_is_exempt_only_if_every_reading_is(path):
    found = rules("path: /health, exempt: true", paths="encoded-slashes")
    assert found.route("GET", path).exempt is False
    assert found.route("GET", "/%68ealth/").exempt


def test_a_path_with_two_possible_scopes_needs_both():
    assert rules("path: /a/*, scope: a", "path: /b/a, scope: b").route("GET", "/a/%2561").scope == "a"
    assert rules("path: /*, scope: a", "path: /a/b, scope: b", paths="encoded-slashes").route("GET", "/a%2Fb").scope == "a b"


@pytest.mark.parametrize("path", ["/a;x/b", "/a%3Bx/b", "/%2561/b", "/a%2Fb", "/c/d%3Fe", "/c/%2564"])
def test_a_path_with_two_possible_policies_is_refused(path):
    """The caller's own policy is one of them: a route with a looser policy must not bypass it."""
    found = rules("path: /a/*, policy: standard", "path: /c/d, policy: loose", paths="encoded-slashes")
    with pytest.raises(RefusedPath) as refused:
        found.route("GET", path)
    assert refused.value.fault.reason == "path-ambiguous"


def test_an_encoded_slash_may_be_part_of_a_segment():
    assert name(rules("path: /projects/*", paths="encoded-slashes"), "/projects/group%2Fname") == "/projects/*"
    found = rules("path: /projects/**, policy: loose", paths="encoded-slashes")
    assert found.route("GET", "/projects/group%2Fname").policy.name == "loose"


def test_a_long_path_is_judged_like_a_short_one():
    found = rules("path: /a/**, exempt: true", "path: /a/b/c/*, cost: 2")
    for unit in ("x", "x/", "%41", "x;y/", "%C3%BC"):
        path = "/a/b/c/" + unit * ((MAX_LENGTH - 7) // len(unit))
        assert found.route("GET", path).exempt
        assert found.route("GET", path.replace("/a/", "/A/", 1)).name == "unmatched"


SEGMENTS = st.sampled_from(
    ["a", "b", "A", "", ".", "..", "%61", "%2F", "%2e", "%", "%zz", ";x", "a;b", "\\", "é", "\xff", "*", "{a}", "%00"]
)
PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "{id}"]), max_size=4).flatmap(
    lambda parts: st.sampled_from(["/" + "/".join(parts), "/" + "/".join([*parts, "**"])])
)


@given(st.lists(PATTERNS, max_size=8), st.lists(st.sampled_from(["a", "b", "c"]), max_size=5))
def test_a_plain_path_takes_the_first_matching_pattern(patterns, segments):
    """Compared with the simplest implementation."""

    def matches(parts, segments):
        if parts == ["**"] or not parts or not segments:
            return parts in ([], ["**"]) and (bool(parts) or not segments)
        return parts[0] in ("*", "{id}", segments[0]) and matches(parts[1:], segments[1:])

    found = rules(*(f"path: '{pattern}', cost: {cost}" for cost, pattern in enumerate(patterns, 2)))
    wanted = next(
        (cost for cost, pattern in enumerate(patterns, 2) if matches([part for part in pattern.split("/") if part], segments)),
        1,
    )
    assert found.route("GET", "/" + "/".join(segments)).cost == wanted


@given(st.text(max_size=10), st.lists(SEGMENTS, max_size=8), st.text(max_size=10))
def test_every_path_has_a_route_or_is_refused(method, segments, text):
    found = rules("path: /a/*", "path: /a/b/**, cost: 2")
    for path in ("/".join(segments), "/" + "/".join(segments), text):
        route = found_by(found, method, path)
        assert route is None or route.cost in (1, 2)


def test_routes_that_never_match_are_warned_about():
    hidden = ["path: /a/b", "path: '/a/{x}'", "path: /a/**", "path: /c, method: GET", "path: /c, method: [GET, HEAD]"]
    for first, second in [(1, 0), (2, 0), (2, 1), (2, 2), (4, 3), (3, 4)]:
        assert [": routes[1]: " in warning for warning in rules(hidden[first], hidden[second]).warnings if "never matches" in warning] == [
            True
        ]
    for first, second in [(0, 1), (0, 2), (1, 2), (3, 0)]:
        assert not any("never matches" in warning for warning in rules(hidden[first], hidden[second]).warnings)
    assert not any("never matches" in warning for warning in rules("path: /c, method: GET", "path: /c").warnings)


def test_a_lookup_takes_microseconds():
    """About 1 us on an idle machine; the bound allows for a busy one. 500 routes cost no more than one."""
    found = rules(*(f"path: /v1/things{n}/*/parts" for n in range(500)))
    seen = min(timeit.repeat(lambda: found.route("GET", "/v1/things499/17/parts"), number=2000, repeat=5)) / 2000
    assert seen < 10e-6
    paths = iter([f"/v1/things{n % 500}/{n}/parts" for n in range(10_000)])
    unseen = min(timeit.repeat(lambda: found.route("GET", next(paths)), number=2000, repeat=5)) / 2000
    assert unseen < 60e-6


def test_paths_that_are_never_repeated_do_not_fill_the_memory():
    found = rules("path: /a/*")
    tracemalloc.start()
    for n in range(20_000):
        found.route("GET", f"/a/{n}" + "x" * (n % 1000))
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 4_000_000
