"""Odd requests by hand, each a small program for the differential test: what random ones would meet too seldom."""

from . import jute
from .jute import Acl
from .randomops import AUTH, BATCH, CLOSE, ODD_ZXID, RECONNECT, STEAL, UNKNOWN_OP, WRONG_PASSWORD, DIGESTS, Step, WatchesAgain

_ODD_PATHS = [
    "/",
    "",
    None,
    "a",
    "/o/",
    "//o",
    "/o//x",
    "/o/.",
    "/o/./x",
    "/o/..",
    "/o/../x",
    "/.",
    "/..",
    "/o/.x",
    "/o/..x",
    "/o/x.",
    "/o/\0",
    "/o/\x01",
    "/o/\x1f",
    "/o/ ",
    "/o/\x7f",
    "/o/\x9f",
    "/o/\xa0",
    "/o/\ud7ff",
    "/o/\ue000",
    "/o/\uf8ff",
    "/o/\uf900",
    "/o/\uffef",
    "/o/\ufff0",
    "/o/\U0001f980",
    "/zookeeper",
    "/zookeeper/quota",
    "/zookeeper/x",
    "/zookeeperx",
    "/o/" + "long" * 500,
]

_ODD_ACLS = [
    [],
    None,
    [Acl(0, "world", "anyone")],
    [Acl(-1, "world", "anyone")],
    [Acl(1 << 20, "world", "anyone")],
    [Acl(31, "world", "")],
    [Acl(31, "world", None)],
    [Acl(31, "World", "anyone")],
    [Acl(31, "auth", "")],
    [Acl(31, "auth", "ignored")],
    [Acl(31, "digest", "")],
    [Acl(31, "digest", "a:")],
    [Acl(31, "digest", ":b")],
    [Acl(31, "digest", ":")],
    [Acl(31, "digest", "a:b")],
    [Acl(31, "digest", "a:b:c")],
    [Acl(31, "digest", None)],
    [Acl(31, "ip", "127.0.0.1")],
    [Acl(31, "ip", "127.0.0.1/0")],
    [Acl(31, "ip", "127.0.0.1/32")],
    [Acl(31, "ip", "127.0.0.1/-1")],
    [Acl(31, "ip", "127.0.0.1/33")],
    [Acl(31, "ip", "127.0.0.1/x")],
    [Acl(31, "ip", "127.0.0")],
    [Acl(31, "ip", "127.0.0.256")],
    [Acl(31, "ip", "localhost")],
    [Acl(31, "ip", "")],
    [Acl(31, "ip", "::1")],
    [Acl(31, "ip", "::1/128")],
    [Acl(31, "ip", "::1/129")],
    [Acl(31, "ip", "::1/0")],
    [Acl(31, "ip", "::")],
    [Acl(31, "ip", "2001:db8::/32")],
    [Acl(31, "ip", "2001:db8:0:0:0:0:0:1")],
    [Acl(31, "ip", "::ffff:127.0.0.1")],
    [Acl(31, "ip", "[::1]")],
    [Acl(31, "ip", "2001:db8")],
    [Acl(31, "ip", ":::1")],
    [Acl(31, "sasl", "u")],
    [Acl(31, "x509", "CN=u")],
    [Acl(31, "super", "")],
    [Acl(31, "", "")],
    [Acl(31, None, None)],
    [Acl(1, "world", "anyone"), Acl(1, "world", "anyone"), Acl(2, "world", "anyone")],
]


def _alone(slot, ops):
    return [Step(BATCH, slot, (op,)) for op in ops]


def _together(slot, ops):
    return [Step(BATCH, slot, tuple(ops))]


def _paths():
    steps = _alone(0, [jute.create("/o", b"o")])
    for path in _ODD_PATHS:
        reads = [jute.exists(path), jute.get_data(path), jute.get_children(path), jute.get_children2(path)]
        steps += _alone(0, [*reads, jute.get_acl(path), jute.sync(path), jute.get_all_children_number(path)])
        steps += _alone(0, [jute.multi_read(reads[1:3]), jute.get_ephemerals(path)])
        steps += _alone(0, [jute.check_watches(path, jute.ANY_WATCHES), jute.add_watch(path, jute.WATCH_RECURSIVE)])
        steps += _alone(0, [jute.remove_watches(path, jute.RECURSIVE_WATCHES)])
        # what may not be made away with is only asked for, not written
        writes = [jute.create(path, b"1"), jute.create2(path, b"2"), jute.create(path, b"3", flags=jute.SEQUENTIAL)]
        writes += [jute.set_data(path, b"4"), jute.multi([jute.check(path, -1)]), jute.delete(path)]
        steps += _alone(0, writes)
        steps += _alone(0, [jute.multi([op]) for op in writes if op.code != jute.MULTI])
    return steps


def _acls():
    steps = _alone(0, [jute.create("/acl", b"")])
    for acl in _ODD_ACLS:
        steps += _alone(0, [jute.create("/acl/n", b"", acl), jute.get_acl("/acl/n"), jute.delete("/acl/n")])
        steps += _alone(0, [jute.multi([jute.create("/acl/n", b"", acl), jute.delete("/acl/n")])])
        steps += _alone(0, [jute.create("/acl/s"), jute.set_acl("/acl/s", acl), jute.get_acl("/acl/s")])
        steps += _alone(0, [jute.delete("/acl/s")])
    return steps


def _permissions():
    """Every operation against every single permission, by a session without and with the credentials."""
    steps = []
    alice = Acl(jute.ALL, "digest", DIGESTS["alice"])
    for perms in range(32):
        path = f"/perm{perms}"
        acl = [Acl(perms, "world", "anyone"), alice]
        steps += _alone(0, [jute.create(path), jute.create(path + "/c"), jute.set_acl(path, acl)])
        ops = [
            jute.exists(path),
            jute.get_data(path),
            jute.get_children2(path),
            jute.get_acl(path),
            jute.set_data(path, b"x"),
            jute.multi([jute.check(path, -1)]),
            jute.create(path + "/d"),
            jute.delete(path + "/c"),
            jute.set_acl(path, acl),
            jute.get_acl(path),
        ]
        steps += _alone(1, ops) + _alone(2, ops)
    return [Step(AUTH, 2, (jute.auth("digest", b"alice:secret"),)), *steps]


def _authentication():
    private = [Acl(jute.ALL, "auth", "")]
    attempts = [
        jute.auth("digest", b"alice:secret"),
        jute.auth("digest", b"bob:hunter2"),
        jute.auth("digest", b"alice:secret"),
        jute.auth("digest", b"nocolon"),
        jute.auth("digest", b""),
        jute.auth("digest", b":"),
        jute.auth("digest", b"a:b:c"),
        jute.auth("ip", b"10.1.1.1"),
        jute.auth("world", b"anyone"),
        jute.auth("", b""),
        jute.auth(None, b""),
    ]
    steps = []
    for number, attempt in enumerate(attempts):
        path = f"/auth{number}"
        steps += [Step(AUTH, 0, (attempt,)), *_alone(0, [jute.create(path, b"", private), jute.get_acl(path)])]
        steps += _alone(1, [jute.get_data(path), jute.delete(path)])
        steps += _alone(0, [jute.get_data(path), jute.delete(path)])
    return steps


def _sequences():
    node = lambda name, flags=jute.SEQUENTIAL: jute.create(f"/seq/{name}", b"", flags=flags)
    ops = [jute.create("/seq"), node("a-"), node("b-"), node(""), jute.delete("/seq/a-0000000000"), node("a-")]
    ops += [node("plain", 0), node("a-"), jute.create("/seq/plain/"), node("e-", 3), jute.delete("/seq/plain")]
    ops += [jute.multi([node("m-"), node("m-"), jute.check("/seq", 5)]), node("m-")]
    ops += [jute.multi([node("m-"), jute.delete("/seq/m-0000000008"), node("m-")]), node("m-")]
    ops += [jute.create2("/seq/0000000010", b""), node(""), jute.get_children2("/seq"), jute.exists("/seq")]
    return _alone(0, ops) + [Step(CLOSE, 0)] + _alone(1, [jute.get_children2("/seq")]) + _together(1, ops[1:])


def _ephemerals():
    steps = _alone(0, [jute.create("/eph"), jute.create2("/eph/e", b"", flags=jute.EPHEMERAL)])
    steps += _alone(1, [jute.create("/eph/e/child"), jute.get_data("/eph/e", True), jute.get_children("/eph", True)])
    steps += _alone(1, [jute.create("/eph/e/child-", flags=jute.EPHEMERAL_SEQUENTIAL), jute.exists("/eph/e", True)])
    steps += [Step(RECONNECT, 0), *_alone(1, [jute.exists("/eph/e")]), Step(STEAL, 0)]
    steps += [Step(CLOSE, 0), *_alone(1, [jute.exists("/eph/e"), jute.get_children2("/eph")])]
    in_multi = [jute.create("/eph/m", flags=1), jute.create("/eph/m/c"), jute.create("/eph/x")]
    steps += _alone(1, [jute.multi(in_multi), jute.multi(in_multi[:1]), jute.multi([jute.delete("/eph/m")])])
    return steps


def _watches():
    both = [jute.get_data("/w", True), jute.get_children("/w", True), jute.exists("/w/none", True)]
    steps = _alone(0, [jute.create("/w"), jute.create("/w/c")])
    changes = [
        jute.set_data("/w", b"1"),
        jute.create("/w/none"),
        jute.delete("/w/none"),
        jute.multi([jute.set_data("/w", b"2"), jute.create("/w/none"), jute.delete("/w/c"), jute.create("/w/c")]),
        jute.multi([jute.set_data("/w", b"2"), jute.check("/w", 99)]),
        jute.set_acl("/w", jute.OPEN_ACL),
        jute.multi([jute.delete("/w/none"), jute.delete("/w/c"), jute.delete("/w")]),
        jute.create("/w"),
    ]
    # The event of a write comes after the reply to a sync that was sent before that write.
    behind_sync = [jute.get_data("/w", True), jute.sync("/w"), jute.set_data("/w", b"0")]
    steps += _together(0, [*behind_sync, jute.get_data("/w")])
    steps += _together(0, [*behind_sync, jute.delete("/none")])
    for change in changes:
        steps += _together(1, both) + _together(2, [*both, *both]) + _alone(0, [change])
        steps += _together(0, [*both, change, *both])
    return steps


def _watches_again():
    steps = _alone(0, [jute.create("/again"), jute.create("/again/c")])
    lists = [
        WatchesAgain(since, data, exist, child)
        for since in ("start", "now", "last connect", "before the start", "the least", "far ahead")
        for data, exist, child in [
            (("/again", "/again/none"), ("/again", "/again/none"), ("/again", "/again/none")),
            ((), ("/again/none",), ()),
            (("/again/",), ("", "relative"), ("/again/",)),
        ]
    ]
    for again in lists:
        steps += _alone(1, [again]) + [Step(RECONNECT, 1, (again,))]
        steps += _alone(0, [jute.create("/again/none"), jute.set_data("/again", b""), jute.delete("/again/none")])
    return steps


def _lasting_watches():
    """Every kind of watch on every place, and each change there; what is checked and removed of them."""
    lasting = [jute.add_watch(path, mode) for path in ("/l", "/l/c", "/", "/l/none/x") for mode in (0, 1)]
    no_modes = [jute.add_watch("/l", mode) for mode in (2, -1)]
    changes = [
        jute.set_data("/l", b"1"),
        jute.set_data("/l/c", b"1"),
        jute.create("/l/none"),
        jute.create("/l/none/x"),
        jute.create("/ll"),
        jute.multi([jute.delete("/l/none/x"), jute.delete("/l/none"), jute.set_data("/l/c", b"2"), jute.delete("/ll")]),
        jute.delete("/l/c"),
        jute.delete("/l"),
    ]
    restore = [jute.create("/l"), jute.create("/l/c")]
    steps = _alone(0, restore) + _alone(0, no_modes) + _alone(0, [jute.check_watches("/l", jute.ANY_WATCHES)])
    for one in lasting:
        steps += _together(1, [one, one]) + _together(2, [one, jute.get_data("/l", True), jute.get_children("/l", True)])
        steps += [step for change in changes for step in _alone(0, [change])] + _alone(0, restore)
        again = WatchesAgain("last connect", ("/l",), ("/l/none",), ("/l",), ("/l/c",), ("/l",))
        steps += [Step(RECONNECT, 1), Step(RECONNECT, 2, (again,))] + _alone(0, changes) + _alone(0, restore)
        steps += [Step(RECONNECT, 2)]
    one_shot = [jute.get_data("/l", True), jute.get_children("/l", True), jute.exists("/l/none", True)]
    for kind in (0, 1, 2, 3, 4, 5, 6, -1):
        asked = [jute.check_watches(path, kind) for path in ("/l", "/l/none", "/l/c", "/")]
        removed = [jute.remove_watches(path, kind) for path in ("/l", "/l", "/l/none", "/l/c")]
        steps += _alone(1, [*lasting, *one_shot]) + _alone(1, [*asked, *removed, *asked])
        steps += _alone(0, changes) + _alone(0, restore) + [Step(RECONNECT, 1)]
    private = [Acl(jute.ALL & ~jute.READ, "world", "anyone")]
    steps += _alone(1, [jute.add_watch("/l", jute.WATCH_RECURSIVE), jute.add_watch("/l/c", jute.WATCH_PERSISTENT)])
    return steps + _alone(0, [jute.set_acl("/l/c", private), jute.set_data("/l/c", b"3"), jute.delete("/l/c")])


def _several_reads():
    steps = _alone(0, [jute.create("/r", b"r"), jute.create("/r/c"), jute.create("/r/p", b"", [Acl(2, "world", "anyone")])])
    good = [jute.get_data("/r"), jute.get_children("/r", True), jute.get_data("/r/c", True)]
    bad = [jute.get_data("/r/none", True), jute.get_children("/r/p", True), jute.get_data("")]
    steps += _alone(0, [jute.multi_read(ops) for ops in ([], good, bad, [*good, *bad, *good])])
    steps += _alone(1, [jute.set_data("/r/c", b"x"), jute.create("/r/none"), jute.create("/r/d"), jute.delete("/r/d")])
    for other in (jute.exists("/r"), jute.get_children2("/r"), jute.set_data("/r", b""), jute.raw(99, b"")):
        steps += _alone(0, [jute.multi_read([other]), jute.multi_read([good[0], other]), jute.get_data("/r")])
    return steps


def _who_and_whose():
    credentials = [jute.auth("digest", b"alice:secret"), jute.auth("digest", b":x"), jute.auth("digest", b"bob:hunter2")]
    steps = _alone(0, [jute.who_am_i()])
    for proof in credentials:
        steps += [Step(AUTH, 0, (proof,)), *_alone(0, [jute.who_am_i()])]
    made = [jute.create(path, flags=flags) for path, flags in (("/e", 0), ("/e/a", 1), ("/e/ab", 1), ("/e/n-", 3))]
    steps += _alone(0, made) + _alone(1, [jute.create("/e/other", flags=1)])
    prefixes = ["/", "", None, " ", "\t/ ", "/e", "/e/", "/e/a", "/e/ab", "e", "/e/none", "\u00a0"]
    steps += _alone(0, [jute.get_ephemerals(prefix) for prefix in prefixes]) + _alone(2, [jute.get_ephemerals("/")])
    steps += _alone(0, [jute.get_all_children_number(path) for path in ("/", "/e", "/e/a", "/none", "", "/e/")])
    deep = [jute.create("/e" + "/d" * depth) for depth in range(1, 6)]
    steps += _alone(0, [*deep, jute.get_all_children_number("/e"), jute.delete("/e" + "/d" * 5)])
    return steps + _alone(0, [jute.get_all_children_number("/e"), jute.get_all_children_number("/e/d")])


def _values():
    """Null against empty, the biggest and the smallest of each number."""
    ops = [jute.create("/v", None), jute.get_data("/v"), jute.set_data("/v", b""), jute.get_data("/v")]
    ops += [jute.set_data("/v", None), jute.get_data("/v"), jute.exists("/v")]
    ops += [jute.set_data("/v", b"x" * 1_000_000), jute.exists("/v"), jute.set_data("/v", b"")]
    for version in (-(2**31), -2, -1, 0, 1, 2**31 - 1):
        ops += [jute.set_data("/v", b"", version), jute.set_acl("/v", jute.OPEN_ACL, version)]
        ops += [jute.multi([jute.check("/v", version)]), jute.delete("/v", version), jute.create("/v")]
    for flags in (-(2**31), -1, 4, 5, 6, 7, 8, 2**31 - 1):
        ops += [jute.create("/v/f", b"", flags=flags), jute.create2("/v/f", b"", flags=flags)]
        ops += [jute.get_children2("/v")]
        ops += [jute.multi([jute.create("/v/g", b"", flags=flags)]), jute.exists("/v/g"), jute.delete("/v/g")]
    return _alone(0, ops)


def _lifetimes():
    """Containers and times to live with all flags, alone and in a multi."""
    steps = _alone(0, [jute.create("/lt")])
    for flags in (0, 1, 2, 3, 4, 5, 6, 7, -1):
        creates = [jute.create_container("/lt/x", b"c", flags=flags)]
        times = (1 << 39, 0, -1, jute.TTL_MS_MAX, jute.TTL_MS_MAX + 1)
        # Without the flags ZooKeeper takes a negative time, and fails when it applies it.
        creates += [jute.create_ttl("/lt/x", b"t", flags=flags, ttl_ms=ms) for ms in times if ms >= 0 or flags in (5, 6)]
        for create in creates:
            after = [jute.exists("/lt/x"), jute.create("/lt/x/child"), jute.delete("/lt/x/child"), jute.delete("/lt/x")]
            steps += _alone(0, [create, jute.get_children2("/lt"), *after, jute.multi([create]), *after])
            steps += _alone(0, [jute.multi([jute.create("/lt/y"), create, jute.delete("/lt/y")]), *after])
    steps += _alone(0, [jute.create_container("/lt/e"), jute.create("/lt/e/e", flags=1), jute.get_ephemerals("/")])
    return [*steps, Step(CLOSE, 0), *_alone(1, [jute.get_children2("/lt"), jute.get_children2("/lt/e")])]


def _quotas():
    """Soft and hard, of znodes and bytes; what is asked of a znode under each of them, and what the figures are."""
    quota = "/zookeeper/quota/qu"
    limits, stats = f"{quota}/zookeeper_limits", f"{quota}/zookeeper_stats"
    figures = [jute.get_data(stats), jute.exists(stats)]
    make = [jute.create(quota), jute.create(limits, b"count=-1,bytes=-1"), jute.create(stats, b"count=0,bytes=0")]
    steps = _alone(0, [jute.create("/qu", b"four"), jute.create("/qu/a", b"1"), *make, *figures, jute.get_acl(stats)])
    steps += _alone(0, [jute.get_children2(quota), jute.multi_read([jute.get_data(stats)]), jute.get_data(limits)])
    changes = [
        jute.create("/qu/b", b"22"),
        jute.create2("/qu/c", None),
        jute.create("/qu/a/s-", b"s", flags=jute.SEQUENTIAL),
        jute.create("/qu/e", b"e", flags=jute.EPHEMERAL),
        jute.create_container("/qu/k", b"k"),
        jute.create_ttl("/qu/t", b"t", flags=5, ttl_ms=1 << 38),
        jute.create("/qu/e/x"),
        jute.create("/qu/b"),
        jute.set_data("/qu/a", b"longer"),
        jute.set_data("/qu/a", b"22"),
        jute.set_data("/qu/a", b"33"),
        jute.set_data("/qu/a", b"444", 99),
        jute.set_data("/qu/a", None),
        jute.set_data("/qu/none", b"4"),
        jute.multi([jute.check("/qu", -1), jute.create("/qu/m", b"m")]),
        jute.multi([jute.set_data("/qu", b"longer"), jute.check("/qu", 99)]),
        jute.set_data("/qu", b"four"),
        *(jute.delete(f"/qu/{name}") for name in "bcektm"),
        jute.get_children2("/qu"),
    ]
    for soft in ("count=-1,bytes=-1", "count=2,bytes=0", "count=0,bytes=9"):
        for hard in ("", "=;countHardLimit=3", "=;byteHardLimit=8", "=;byteHardLimit=0;countHardLimit=-1", "=;countHardLimit=0"):
            steps += _alone(0, [jute.set_data(limits, (soft + hard).encode()), jute.get_data(limits)])
            steps += [step for change in changes for step in _alone(0, [change, *figures])]
    steps += _alone(0, [jute.set_data(limits, b"count=-1,bytes=-1"), jute.create("/qu/e", b"e", flags=1), *figures])
    steps += [Step(CLOSE, 0), *_alone(1, figures)]
    # A quota that goes and comes again; one of a znode that is not there; one below another.
    steps += _alone(1, [*(jute.delete(path) for path in (limits, stats, quota)), *figures, jute.create("/qu/z", b"z")])
    steps += _alone(1, [*make, *figures, jute.delete("/qu/z"), *figures])
    steps += _alone(1, [jute.create(path) for path in ("/qu/n", f"{quota}/n", f"{quota}/nn")])
    steps += _alone(1, [jute.create(f"{quota}/n/zookeeper_limits", b"countHardLimit=2"), jute.set_data(limits, b"countHardLimit=0")])
    steps += _alone(1, [jute.create(f"{quota}/n/zookeeper_stats"), jute.get_data(f"{quota}/n/zookeeper_stats")])
    steps += _alone(1, [jute.create("/qu/n/1"), jute.create("/qu/n/2"), jute.create("/qu/x"), jute.create("/quz")])
    steps += _alone(1, [jute.get_data(f"{quota}/n/zookeeper_stats"), jute.delete(f"{quota}/n/zookeeper_limits")])
    steps += _alone(1, [jute.create("/qu/n/2"), jute.delete(limits), jute.create("/qu/n/2"), jute.create("/qu/x")])
    absent = [jute.create(f"{quota}/nn/zookeeper_limits", b"count=1,bytes=1"), jute.create(f"{quota}/nn/zookeeper_stats")]
    steps += _alone(1, [*absent, jute.get_data(f"{quota}/nn/zookeeper_stats"), jute.create("/qu/nn", b"nn")])
    return steps + _alone(1, [jute.get_data(f"{quota}/nn/zookeeper_stats"), jute.exists(f"{quota}/nn/zookeeper_stats")])


def _multis():
    good = [jute.create("/mu/a"), jute.set_data("/mu", b"x"), jute.check("/mu", -1), jute.delete("/mu/a")]
    bad = [jute.check("/mu", 99), jute.create("/mu"), jute.delete("/mu/none"), jute.create("/mu/x", b"", [])]
    steps = _alone(0, [jute.create("/mu"), jute.multi([]), jute.multi(good), jute.multi([jute.ping()])])
    for position in range(len(good) + 1):
        for failing in bad:
            steps += _alone(0, [jute.multi([*good[:position], failing, *good[position:]])])
    sequence = [jute.create("/mu/s-", flags=2)] * 3
    steps += _together(0, [jute.multi(sequence), jute.multi([*sequence, bad[0]]), jute.multi(sequence), *sequence])
    steps += _alone(0, [jute.multi([jute.create("/mu/d"), jute.create("/mu/d/d"), jute.delete("/mu/d")])])
    steps += _alone(0, [jute.multi([jute.get_data("/mu")]), jute.multi([*good, jute.get_children("/mu")])])
    steps += _alone(0, [jute.multi([jute.raw(code, b"")]) for code in (0, 7, 9, 99, 100, -11)])
    return steps


def _bodies():
    """Every request with its body cut at every place."""
    steps = _alone(0, [jute.create("/b", b"x")])
    requests = [
        jute.create("/b/c", b"d"),
        jute.delete("/b/none", 5),
        jute.get_data("/b"),
        jute.set_data("/b", b"y", 77),
        jute.set_acl("/b", jute.OPEN_ACL, 77),
        jute.sync("/b"),
        jute.set_watches(0, ["/b"], ["/b"], ["/b"]),
        jute.set_watches2(0, ["/b"], [], [], ["/b"], ["/b"]),
        jute.add_watch("/b", 1),
        jute.check_watches("/b", 2),
        jute.get_ephemerals("/b"),
        jute.get_all_children_number("/b"),
        jute.multi_read([jute.get_data("/b"), jute.get_children("/b")]),
        jute.multi([jute.check("/b", 0), jute.set_data("/b", b"z", 77)]),
    ]
    for op in requests:
        steps += _alone(0, [jute.raw(op.code, op.body[:cut], f"cut {op!r}") for cut in range(len(op.body))])
        steps += _alone(0, [jute.raw(op.code, op.body + b"\0" * 7, f"long {op!r}")])
    return steps


def _sessions():
    steps = _alone(0, [jute.create("/ses"), jute.create("/ses/e", flags=1)])
    steps += [Step(WRONG_PASSWORD, 0), Step(STEAL, 0), Step(RECONNECT, 0), Step(UNKNOWN_OP, 0, (jute.raw(99, b""),))]
    steps.append(Step(ODD_ZXID, 0))
    return [*steps, *_alone(1, [jute.exists("/ses/e")]), Step(CLOSE, 0), *_alone(1, [jute.exists("/ses/e")])]


def _reconfigurations():
    """Where it is switched off: `test_reconfig` has the rest."""
    config = "/zookeeper/config"
    changes = [
        jute.reconfig(),
        jute.reconfig(joining="server.2=localhost:2:3;4"),
        jute.reconfig(joining="", leaving="", members="", version=0),
        jute.reconfig(leaving="x"),
        jute.reconfig(members="server.1=localhost:2:3;4,server.2=localhost:5:6;7", version=1 << 40),
    ]
    cut = jute.reconfig(leaving="2").body
    malformed = [jute.raw(jute.RECONFIG, cut[:length], "a reconfig cut short") for length in (0, 3, 5, 9, len(cut) - 1)]
    looks = [jute.get_data(config), jute.get_acl(config), jute.exists(config), jute.set_data(config, b"x")]
    steps = _alone(0, [*looks, *changes])
    steps += [step for request in malformed for step in _alone(0, [request, jute.sync()])]
    below = [f"{config}/{name}" for name in ("x", "server.1", "version")]
    writes = [jute.create(path, b"x", flags=flags) for path in below for flags in (0, 1, jute.SEQUENTIAL)]
    writes += [jute.create_container(below[0]), jute.create_ttl(below[0]), jute.set_data(below[0], b"y")]
    writes += [*map(jute.delete, [*below, config]), jute.create(config), jute.set_acl(config, jute.OPEN_ACL)]
    steps += _alone(0, [*writes, *(jute.multi([op]) for op in writes), jute.get_children2(config)])
    return steps + _together(0, [*changes, jute.sync()])


def catalogue():
    """Name -> program."""
    programs = [_paths, _acls, _permissions, _authentication, _sequences, _ephemerals, _watches]
    programs += [_watches_again, _lasting_watches, _several_reads, _who_and_whose, _values, _lifetimes, _quotas, _multis, _reconfigurations, _bodies, _sessions]
    return {program.__name__.strip("_"): program() for program in programs}
