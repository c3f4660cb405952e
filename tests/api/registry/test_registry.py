"""The registry on a real Redis: the changes to accounts and keys, which are refused, and what they leave behind."""

import hashlib
from itertools import pairwise

import pytest

from limiter.api.registry import Catalog, Conflict, InvalidRecord, Issued, KeyFormat, UnknownAccount, UnknownKey
from support.clock import DAY, HOUR, MINUTE, SECOND
from support.registry import world_of

FOREIGN = "a key from elsewhere"


@pytest.fixture
def world(server, prefix, clock):
    with world_of(server, prefix, clock=clock, actor="a test") as world:
        world(world.accounts.create("acme", tier="standard"))
        yield world


def issued(world, account="acme", **change):
    return world(world.keys.issue(account, **change))


def dumped(server, prefix):
    """Everything in Redis under this prefix."""
    with server.client() as client:
        return b"\n".join(name + _value(client, name) for name in client.scan_iter(f"{prefix}*", count=1000))


def _value(client, name):
    read = {b"string": client.get, b"hash": client.hgetall, b"stream": client.xrange, b"zset": lambda name: client.zrange(name, 0, -1)}
    return repr(read[client.type(name)](name)).encode()


# --- Accounts


def test_an_account_is_shown_as_it_was_created_and_changed(world, clock):
    created = world(world.accounts.show("acme"))
    assert (created.tier, created.state, created.created_us) == ("standard", "active", clock.now_us)
    world(world.accounts.set("acme", tier="pro", limits=["100/minute"]))
    world(world.accounts.suspend("acme"))
    shown = world(world.accounts.show("acme"))
    assert (shown.tier, shown.state, shown.limits) == ("pro", "suspended", ("100/minute",))
    assert world(world.accounts.activate("acme")).state == "active"


def test_an_account_is_created_once(world):
    with pytest.raises(Conflict, match="'acme' already"):
        world(world.accounts.create("acme", tier="pro"))
    assert world(world.accounts.show("acme")).tier == "standard"


def test_only_one_of_several_concurrent_creations_of_an_account_succeeds(world):
    answers = world.together(*(world.accounts.create("globex", tier=f"tier-{i}") for i in range(5)))
    assert sum(isinstance(answer, Conflict) for answer in answers) == 4


def test_accounts_are_listed_in_pages_by_name(world):
    names = sorted(["acme", *(f"tenant-{i:02}" for i in range(25))])
    for name in names[1:]:
        world(world.accounts.create(name, tier="free"))
    cursor, listed = "", []
    for expected in (10, 10, 6):
        page = world(world.accounts.list(cursor, 10))
        assert len(page.items) == expected
        cursor, listed = page.cursor, [*listed, *(account.id for account in page.items)]
    assert (cursor, listed) == ("", names)


def test_an_account_with_keys_is_deleted_only_with_its_keys(world):
    raw = issued(world).raw
    with pytest.raises(Conflict, match="has keys"):
        world(world.accounts.delete("acme"))
    assert world(world.keys.find(raw)).account == "acme"
    world(world.accounts.delete("acme", with_keys=True))
    with pytest.raises(UnknownKey):
        world(world.keys.find(raw))
    with pytest.raises(UnknownAccount):
        world(world.accounts.show("acme"))
    assert world.names() == {":{acme}:gen", ":audit"}


def test_the_generation_of_a_deleted_account_expires_within_a_day(world, server, prefix):
    world(world.accounts.delete("acme"))
    with server.client() as client:
        assert 0 < client.pttl(f"{prefix}:{{acme}}:gen") <= 86_400_000


def test_generations_never_repeat_even_when_the_clock_is_set_back(world, clock):
    def generation():
        return world(world.registry.store.read("acme")).generation

    seen = [generation()]
    for step in range(5):
        clock.now_us -= HOUR
        world(world.accounts.delete("acme"))
        seen.append(generation())
        world(world.accounts.create("acme", tier="free"))
        seen.append(generation())
        world(world.accounts.set("acme", tier=f"tier-{step}"))
        seen.append(generation())
    assert all(after > before for before, after in pairwise(seen))


@pytest.mark.parametrize(
    "attempt",
    [
        lambda world: world.accounts.show("nobody"),
        lambda world: world.accounts.set("nobody", tier="pro"),
        lambda world: world.accounts.suspend("nobody"),
        lambda world: world.accounts.delete("nobody"),
        lambda world: world.keys.issue("nobody"),
        lambda world: world.keys.adopt("nobody", FOREIGN),
        lambda world: world.keys.list("nobody"),
        lambda world: world.keys.show("nobody", "0" * 20),
        lambda world: world.keys.rotate("nobody", "0" * 20),
    ],
)
def test_an_unknown_account_is_an_error_and_leaves_no_trace(world, attempt):
    before = world.names()
    with pytest.raises(UnknownAccount, match="'nobody'"):
        world(attempt(world))
    assert world.names() == before


# --- Keys


def test_a_key_is_found_by_its_raw_form(world):
    new = issued(world, name="ci", scopes=["asset:read"], addresses=["203.0.113.0/24"])
    assert world(world.keys.find(new.raw)) == world(world.keys.show("acme", new.key.id)) == new.key
    assert new.raw not in repr(new)


def test_no_raw_key_is_stored_in_redis(world, server, prefix):
    raws = [issued(world, name=f"key {i}").raw for i in range(3)]
    raws.append(world(world.keys.rotate("acme", world(world.keys.find(raws[0])).id, 60)).raw)
    raws.append("sk-foreign-0123456789abcdefghijklmnopqrstuvwxyz")
    world(world.keys.adopt("acme", raws[-1]))
    world(world.keys.revoke("acme", world(world.keys.find(raws[1])).id))
    for raw in raws:
        world(world.directory.look_up(raw, None, ""))
        world(world.directory.look_up(raw + "x", None, ""))
    world(world.registered.flush())
    dump = dumped(server, prefix)
    assert b"records" in dump
    assert b"keys.rotate" in dump
    for raw in raws:
        assert raw.encode() not in dump
        assert raw[20:].encode() not in dump


def test_only_test_keys_expire_after_7_days_by_default(world, clock):
    assert issued(world, environment="test").key.expires_us == clock.now_us + 7 * DAY
    assert issued(world).key.expires_us is None
    assert issued(world, environment="test", lifetime=float("inf")).key.expires_us is None
    assert issued(world, lifetime=90).key.expires_us == clock.now_us + 90 * SECOND


def test_keys_are_listed_in_pages_in_order_of_creation(world, clock):
    names = [f"key {i}" for i in range(25)]
    for name in names:
        issued(world, name=name)
        clock.now_us += 1
    cursor, listed = "", []
    for expected in (10, 10, 5):
        page = world(world.keys.list("acme", cursor, 10))
        assert len(page.items) == expected
        cursor, listed = page.cursor, [*listed, *(key.name for key in page.items)]
    assert (cursor, listed) == ("", names)


def test_keys_of_the_same_microsecond_are_each_listed_once(world):
    ids = {issued(world).key.id for _ in range(30)}
    cursor, listed = "", []
    while not listed or cursor:
        page = world(world.keys.list("acme", cursor, 7))
        cursor, listed = page.cursor, [*listed, *(key.id for key in page.items)]
    assert sorted(ids) == listed


def test_a_change_keeps_the_other_fields(world):
    new = issued(world, name="ci", scopes=["asset:read"], addresses=["203.0.113.0/24"], policy="gold").key
    changed = world(world.keys.set("acme", new.id, name="deploy", scopes=["asset:read", "asset:write"]))
    assert (changed.name, changed.scopes) == ("deploy", ("asset:read", "asset:write"))
    assert (changed.addresses, changed.policy, changed.created_us) == (new.addresses, "gold", new.created_us)


def test_every_change_raises_the_generation(world):
    key = issued(world).key
    changes = [
        lambda: world.keys.issue("acme"),
        lambda: world.keys.adopt("acme", FOREIGN),
        lambda: world.keys.set("acme", key.id, name="other"),
        lambda: world.keys.rotate("acme", key.id, 60),
        lambda: world.keys.revoke("acme", key.id),
        lambda: world.keys.tidy("acme", 0),
        lambda: world.accounts.set("acme", tier="pro"),
        lambda: world.accounts.suspend("acme"),
        lambda: world.accounts.activate("acme"),
        lambda: world.accounts.delete("acme", with_keys=True),
    ]
    generations = [world(world.registry.store.read("acme")).generation]
    for change in changes:
        world(change())
        generations.append(world(world.registry.store.read("acme")).generation)
    assert len(set(generations)) == len(generations)
    assert generations == sorted(generations)


def test_a_rotation_keeps_the_old_key_for_the_overlap_and_copies_its_fields(world, clock):
    old = issued(world, name="ci", scopes=["asset:read"], addresses=["203.0.113.0/24"])
    new = world(world.keys.rotate("acme", old.key.id, 72 * 3600))
    assert (new.key.name, new.key.scopes, new.key.addresses) == ("ci", ("asset:read",), ("203.0.113.0/24",))
    assert new.raw != old.raw
    ended = world(world.keys.find(old.raw))
    assert (ended.expires_us, ended.rotated_to) == (clock.now_us + 72 * HOUR, new.key.id)
    assert ended.state(clock.now_us) == "rotated"
    assert ended.state(clock.now_us + 72 * HOUR) == "expired"


def test_a_rotation_without_overlap_revokes_the_old_key(world, clock):
    old = issued(world)
    world(world.keys.rotate("acme", old.key.id))
    assert world(world.keys.find(old.raw)).revoked_us == clock.now_us


def test_a_rotation_does_not_prolong_the_old_key_and_gives_the_new_one_a_full_lifetime(world, clock):
    old = issued(world, environment="test")
    clock.now_us += 6 * DAY
    new = world(world.keys.rotate("acme", old.key.id, 72 * 3600))
    assert world(world.keys.find(old.raw)).expires_us == clock.now_us + DAY
    assert new.key.expires_us == clock.now_us + 7 * DAY


def test_all_keys_of_a_chain_of_rotations_are_one_subject(world):
    """Rotating a key does not reset its limits."""
    first = issued(world).key
    second = world(world.keys.rotate("acme", first.id, 60)).key
    third = world(world.keys.rotate("acme", second.id, 60)).key
    assert first.subject == second.subject == third.subject == first.id


@pytest.mark.parametrize("overlap", [0, 259_200])
def test_only_one_of_several_concurrent_rotations_succeeds(world, overlap):
    key = issued(world).key
    answers = world.together(*(world.keys.rotate("acme", key.id, overlap) for _ in range(8)))
    (won,) = [answer for answer in answers if isinstance(answer, Issued)]
    conflicts = [answer for answer in answers if isinstance(answer, Conflict)]
    assert len(conflicts) == 7
    assert all(f"has been rotated, to '{won.key.id}'" in str(each) for each in conflicts)
    assert {each.id for each in world(world.keys.list("acme")).items} == {key.id, won.key.id}
    assert sum(name.startswith(":key:") for name in world.names()) == 2


def test_concurrent_changes_of_different_fields_all_succeed(world):
    key = issued(world).key
    world.together(
        world.keys.set("acme", key.id, name="deploy"),
        world.keys.set("acme", key.id, scopes=["asset:read"]),
        world.keys.set("acme", key.id, addresses=["203.0.113.0/24"]),
        world.keys.set("acme", key.id, limits=["100/minute"]),
    )
    shown = world(world.keys.show("acme", key.id))
    assert (shown.name, shown.scopes, shown.addresses, shown.limits) == ("deploy", ("asset:read",), ("203.0.113.0/24",), ("100/minute",))


def test_a_revoked_key_can_only_be_revoked_again(world, clock):
    key = issued(world).key
    revoked = world(world.keys.revoke("acme", key.id))
    with pytest.raises(Conflict, match="is revoked"):
        world(world.keys.rotate("acme", key.id))
    with pytest.raises(Conflict, match="is revoked"):
        world(world.keys.set("acme", key.id, name="other"))
    clock.now_us += MINUTE
    assert world(world.keys.revoke("acme", key.id)) == revoked


def test_an_expired_key_can_be_prolonged_but_not_rotated(world, clock):
    key = issued(world, lifetime=60).key
    clock.now_us += MINUTE
    with pytest.raises(Conflict, match="has expired"):
        world(world.keys.rotate("acme", key.id))
    assert world(world.keys.set("acme", key.id, lifetime=60)).state(clock.now_us) == "active"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"environment": "prod"}, "environment must be live or test, not 'prod'"),
        ({"addresses": ["203.0.113.0/33"]}, "203.0.113.0/33"),
        ({"scopes": ["a scope"]}, "'a scope'"),
        ({"scopes": ["asset:erase"]}, "asset:read, asset:write"),
        ({"policy": "gold"}, "policy must be one that the configuration defines (standard), not 'gold'"),
        ({"limits": ["many/minute"]}, "many/minute"),
        ({"policy": "standard", "limits": ["100/minute"]}, "exclude each other"),
        ({"lifetime": -1}, "lifetime must be 0 or more seconds, not -1"),
        ({"lifetime": float("nan")}, "lifetime must be 0 or more seconds, not nan"),
        ({"lifetime": 10**12}, "at most 100 years"),
        ({"name": "x" * 101}, "up to 100"),
        ({"name": "two\nlines"}, "printable"),
    ],
)
def test_an_invalid_value_is_named_and_changes_nothing(server, prefix, change, named):
    catalog = Catalog(frozenset({"standard"}), frozenset({"standard"}), frozenset({"asset:read", "asset:write"}))
    with world_of(server, prefix, catalog=lambda: catalog) as world:
        world(world.accounts.create("acme", tier="standard"))
        before = dumped(server, prefix)
        with pytest.raises(InvalidRecord) as refused:
            world(world.keys.issue("acme", **change))
        assert named in str(refused.value)
        assert dumped(server, prefix) == before


def test_the_error_for_an_unknown_tier_lists_the_tiers(server, prefix):
    with world_of(server, prefix, catalog=lambda: Catalog(tiers=frozenset({"standard", "pro"}))) as world:
        with pytest.raises(InvalidRecord, match="pro, standard"):
            world(world.accounts.create("acme", tier="por"))
        assert world.names() == set()


@pytest.mark.parametrize("overlap", [-1, float("nan"), "72h", None])
def test_an_invalid_overlap_is_refused(world, overlap):
    key = issued(world).key
    with pytest.raises(InvalidRecord, match="overlap"):
        world(world.keys.rotate("acme", key.id, overlap))
    assert world(world.keys.show("acme", key.id)) == key


def test_an_unknown_key_is_an_error(world):
    with pytest.raises(UnknownKey, match=r"'acme' has no key '0{20}'"):
        world(world.keys.show("acme", "0" * 20))


# --- Keys that were issued elsewhere


def test_a_foreign_key_is_known_by_its_digest(world):
    adopted = world(world.keys.adopt("acme", "sk-0123456789abcdef", name="old"))
    assert (adopted.name, adopted.shown) == ("old", "sk-012")
    assert world(world.keys.find("sk-0123456789abcdef")) == adopted


@pytest.mark.parametrize("pepper", [b"", b"a pepper of enough bytes"])
def test_a_key_is_imported_by_its_sha256(server, prefix, pepper):
    with world_of(server, prefix, key_format=KeyFormat("ff", pepper)) as world:
        world(world.accounts.create("acme", tier="standard"))
        adopted = world(world.keys.adopt_digest("acme", hashlib.sha256(b"sk-0123456789abcdef").hexdigest()))
        assert world(world.keys.find("sk-0123456789abcdef")) == adopted


@pytest.mark.parametrize("raw", ["", "x" * 15, "x" * 513, "é" * 257, "two\nlines", "ff_live_tooshort0", None, b"bytes"])
def test_an_invalid_key_is_not_imported_and_not_repeated(world, raw):
    with pytest.raises(InvalidRecord, match="the key to import") as refused:
        world(world.keys.adopt("acme", raw))
    assert not raw or str(raw) not in str(refused.value)


@pytest.mark.parametrize("digest", ["", "abc", "g" * 64, "0" * 65, None])
def test_an_invalid_sha256_is_not_imported(world, digest):
    with pytest.raises(InvalidRecord, match="64 hexadecimal digits"):
        world(world.keys.adopt_digest("acme", digest))


def test_a_key_of_512_bytes_is_imported(world):
    assert world(world.keys.find(world(world.keys.adopt("acme", "k" * 512)) and "k" * 512)).shown == "k" * 12


def test_a_key_belongs_to_one_account_only(world):
    world(world.accounts.create("globex", tier="free"))
    adopted = world(world.keys.adopt("acme", FOREIGN))
    for account in ("acme", "globex"):
        with pytest.raises(Conflict, match=f"'acme' has it as '{adopted.id}'"):
            world(world.keys.adopt(account, FOREIGN))
    assert world(world.keys.list("globex")).items == ()


def test_only_one_of_several_concurrent_imports_of_a_key_succeeds(world):
    for name in ("globex", "initech"):
        world(world.accounts.create(name, tier="free"))
    accounts = ["acme", "globex", "initech"] * 3
    answers = world.together(*(world.keys.adopt(account, FOREIGN) for account in accounts))
    assert sum(isinstance(answer, Conflict) for answer in answers) == 8
    assert sum(len(world(world.keys.list(account)).items) for account in accounts[:3]) == 1


def test_an_interrupted_import_blocks_the_key_for_10_seconds_only(world, clock):
    """The import was interrupted after it had claimed the pointer and before it wrote the record."""
    claimed = world(world.keys.adopt("acme", "another key from elsewhere"))
    digest = world.registry.key_format.digest(FOREIGN)
    world(world.registry.store.claim(digest, "", f"acme {claimed.id[:-1]}{'0' if claimed.id[-1] != '0' else '1'}"))
    with pytest.raises(UnknownKey):
        world(world.keys.find(FOREIGN))
    with pytest.raises(Conflict, match="try again in 10 seconds"):
        world(world.keys.adopt("acme", FOREIGN))
    clock.now_us += 10 * SECOND
    adopted = world(world.keys.adopt("acme", FOREIGN))
    assert world(world.keys.find(FOREIGN)) == adopted


# --- Housekeeping and the audit


def test_tidying_deletes_only_keys_that_ended_long_ago(world, clock):
    kept, expired, revoked = issued(world).key, issued(world, lifetime=60).key, issued(world).key
    world(world.keys.revoke("acme", revoked.id))
    clock.now_us += 30 * DAY
    late = issued(world, lifetime=0).key
    assert world(world.keys.tidy("acme", 29 * 86400)) == 2
    assert {each.id for each in world(world.keys.list("acme")).items} == {kept.id, late.id}
    assert expired.id not in {each.id for each in world(world.keys.list("acme")).items}
    assert sum(name.startswith(":key:") for name in world.names()) == 2


def test_the_audit_says_who_changed_what_latest_first(world, clock):
    key = issued(world, name="ci").key
    clock.now_us += SECOND
    world(world.keys.set("acme", key.id, name="deploy"))
    world(world.keys.set("acme", key.id, name="deploy"))
    world(world.keys.revoke("acme", key.id))
    revoked, renamed, made, created = world(world.audit.read()).items
    assert [each.action for each in (revoked, renamed, made, created)] == ["keys.revoke", "keys.set", "keys.issue", "accounts.create"]
    assert (renamed.account, renamed.key, renamed.actor, renamed.at_us) == ("acme", key.id, "a test", clock.now_us)
    assert renamed.detail == "name: 'ci' -> 'deploy'"


def test_the_audit_is_read_in_pages_and_by_account(world):
    world(world.accounts.create("globex", tier="free"))
    for i in range(12):
        world(world.accounts.set("acme" if i % 3 else "globex", tier=f"tier-{i}"))
    whole = world(world.audit.read()).items
    cursor, paged = "", []
    while not paged or cursor:
        page = world(world.audit.read(cursor, 5))
        cursor, paged = page.cursor, [*paged, *page.items]
    assert tuple(paged) == whole
    assert world(world.audit.read(account="globex")).items == tuple(each for each in whole if each.account == "globex")
    with pytest.raises(InvalidRecord, match="cursor must be the one that the previous page returned"):
        world(world.audit.read("yesterday"))


def test_the_audit_is_bounded(server, prefix):
    with world_of(server, prefix, audited=100) as world:
        world(world.accounts.create("acme", tier="free"))
        for i in range(500):
            world(world.accounts.set("acme", tier=f"tier-{i}"))
        assert world(world.client.xlen(f"{prefix}:audit")) <= 200
