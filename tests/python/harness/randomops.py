"""Random programs for the differential test: a seed in, a list of steps out, the same list every time.

A program works under a folder of its own, with a handful of sessions and few paths, so that operations meet: most hit
something that exists, many fail, and each kind of failure comes up. One step is sent by one session in one write, as a
batch of one or several requests; steps never overlap, so whatever the servers answer is determined.
"""

import base64
import hashlib
import random
from dataclasses import dataclass

from . import jute
from .jute import Acl

SESSIONS = 3
_NAMES = "ab"
_USERS = {"alice": b"alice:secret", "bob": b"bob:hunter2"}

# the user's name and base64(sha1("alice:secret")), as the digest scheme has them
DIGESTS = {
    user: f"{user}:{base64.b64encode(hashlib.sha1(credentials).digest()).decode()}"
    for user, credentials in _USERS.items()
}

BATCH, AUTH, RECONNECT, WRONG_PASSWORD, STEAL, CLOSE, UNKNOWN_OP, RESTART, FAILOVER, ODD_ZXID = (
    "batch",
    "auth",
    "reconnect",
    "wrong password",
    "steal",
    "close",
    "unknown op",
    "restart",
    "failover",
    "odd zxid",
)


@dataclass(frozen=True)
class WatchesAgain:
    """A setWatches whose zxid only the run can know: `since` is `start`, `now`, `last connect`, or what cannot be."""

    since: str
    data: tuple
    exist: tuple
    child: tuple
    persistent: tuple = ()
    recursive: tuple = ()

    def op(self, zxid):
        """The request with the zxid filled in."""
        lists = (self.data, self.exist, self.child)
        if self.persistent or self.recursive:
            return jute.set_watches2(zxid, *lists, self.persistent, self.recursive)
        return jute.set_watches(zxid, *lists)


@dataclass(frozen=True)
class Step:
    """What one session does next."""

    kind: str
    slot: int
    ops: tuple = ()

    def __str__(self):
        return f"session {self.slot}: {self.kind}" + "".join(f"\n    {op!r}" for op in self.ops)


# What a program may be made without, where a server to compare with has a bug there.
UNREADABLE = "ACLs that forbid READ"  # before 3.9.2 exists and events pass them
MALFORMED = "bodies that cannot be decoded"  # in a write, they take an ensemble of ZooKeeper 3.9.5 out of service
BARE_CHECK = "check outside a multi"  # before 3.9 it is not refused
ODD_FLAGS = "create flags out of range"  # in a multi, 3.8 and 3.9 differ
LASTING = "watches that stay"  # before 3.9 a connection has one mode of watch on a path
QUOTAS = "quotas"  # before 3.9 only znodes and bytes are counted


class ProgramMaker:
    """Draws programs, without the things named in `without`."""

    def __init__(self, seed, folder, without=frozenset()):
        self.random = random.Random(seed)
        self.folder = folder
        self.without = without
        self.quota = f"/zookeeper/quota{folder}"
        self.limits, self.stats = f"{self.quota}/zookeeper_limits", f"{self.quota}/zookeeper_stats"

    def program(self, steps):
        """A whole program."""
        quota = [jute.create(path, b"count=-1,bytes=-1") for path in (self.quota, self.limits, self.stats)]
        setup = Step(BATCH, 0, (jute.create(self.folder), *quota, jute.create(self.folder + "/a", b"first")))
        return [setup, *(self._step() for _ in range(steps))]

    def disrupted(self, steps, times):
        """The same, with all servers killed and started again in between, or the leader; watches are set again."""
        program = self.program(steps)
        for place in sorted((self.random.randrange(1, len(program)) for _ in range(times)), reverse=True):
            kind, slot = self.random.choice([RESTART, FAILOVER]), self.random.randrange(SESSIONS)
            program[place:place] = [Step(kind, slot), Step(BATCH, slot, (self._watches_again(),))]
        return program

    def _one_of(self, weighted):
        makers, weights = zip(*weighted)
        return self.random.choices(makers, weights)[0]

    def _step(self):
        kind = self._one_of(
            [(BATCH, 88), (AUTH, 4), (RECONNECT, 3), (WRONG_PASSWORD, 0.5), (STEAL, 1), (CLOSE, 2), (UNKNOWN_OP, 1.5)]
        )
        slot = self.random.randrange(SESSIONS)
        if kind == BATCH:
            size = 1 if self.random.random() < 0.55 else self.random.randint(2, 12)
            return Step(BATCH, slot, self._ops(size))
        if kind == AUTH:
            return Step(AUTH, slot, (self._auth(),))
        if kind == UNKNOWN_OP:
            code = self.random.choice([0, -1, 10, 23, 99, 108, 999, 2**31 - 1, -(2**31), jute.CHECK])
            if code == jute.CHECK and BARE_CHECK in self.without:
                code = 999
            return Step(UNKNOWN_OP, slot, (jute.raw(code, jute.check(self._path(), 0).body),))
        if kind == RECONNECT and self.random.random() < 0.7:
            return Step(RECONNECT, slot, (self._watches_again(),))
        if kind == CLOSE and self.random.random() < 0.5:
            return Step(CLOSE, slot, self._ops(self.random.randint(1, 4)))
        return Step(kind, slot)

    def _ops(self, size):
        """A batch ends with its first setACL or change of a quota: ZooKeeper checks what follows in a pipeline against
        the old list, the old limits, until the new ones happen to have been applied."""
        ops = []
        while len(ops) < size and not (ops and self._changes_rules(ops[-1])):
            ops.append(self._op())
        return tuple(ops)

    def _changes_rules(self, op):
        return getattr(op, "code", None) == jute.SET_ACL or op in self._changes_of_quota()

    def _changes_of_quota(self):
        """How much there is applied when a request is judged depends on chance in ZooKeeper: so nothing, or everything."""
        texts = (b"count=-1,bytes=-1", b"count=1,bytes=1", b"count=-1,bytes=-1=;countHardLimit=0")
        return [jute.set_data(self.limits, text) for text in texts]

    def _about_quotas(self):
        reads = [jute.get_data(self.stats), jute.exists(self.stats), jute.get_data(self.limits)]
        return self.random.choice(reads * 2 + self._changes_of_quota())

    def _op(self):
        make = self._one_of(
            [
                (self._about_quotas, 0 if QUOTAS in self.without else 4),
                (self._create, 26),
                (self._delete, 12),
                (self._set_data, 12),
                (self._read, 26),
                (self._get_acl, 4),
                (self._set_acl, 6),
                (lambda: jute.sync(self._path()), 2),
                (self._multi, 12),
                (self._watches_again, 1.5),
                (self._about_watches, 0 if LASTING in self.without else 6),
                (self._multi_read, 3),
                (self._get_ephemerals, 1.5),
                (lambda: jute.get_all_children_number(self._path()), 1.5),
                (jute.who_am_i, 0.5),
                (jute.ping, 1),
                (self._mangled, 0 if MALFORMED in self.without else 2),
            ]
        )
        return make()

    def _create(self):
        odd = [] if ODD_FLAGS in self.without else [(4, 1), (5, 1), (6, 1), (7, 1), (-1, 1), (99, 1)]
        flags = self._one_of([(0, 50), (1, 18), (2, 14), (3, 10), *odd])
        make = self._one_of([(jute.create, 70), (jute.create2, 30), (jute.create_container, 4), (jute.create_ttl, 4)])
        path = self._path(for_create=True)
        if make in (jute.create_container, jute.create_ttl) and path is not None:
            return self._create_limited(make, path, odd)
        if path is None:  # is it the path or the flags that are wrong? Not worth an agreement
            flags = 0
        return make(path, self._data(), self._acl(), flags)

    def _create_limited(self, make, path, odd):
        """A container or a znode with a time to live; with odd flags or a bad time only if that is in the program."""
        usual = [4] if make is jute.create_container else [5, 6]
        flags = self.random.choice([*usual * 4, 0, 2] if odd else usual)
        if make is jute.create_container:
            return make(path, self._data(), self._acl(), flags)
        # Without the flags ZooKeeper takes a negative time, and fails when it applies it.
        bad = [0, -1, jute.TTL_MS_MAX + 1] if flags in usual else [0, 5]
        ttl_ms = self.random.choice([jute.TTL_MS_MAX] * 6 + bad) if odd else jute.TTL_MS_MAX
        return make(path, self._data(), self._acl(), flags, ttl_ms)

    def _delete(self):
        return jute.delete(self._path(), self._version())

    def _set_data(self):
        return jute.set_data(self._path(), self._data(), self._version())

    def _read(self):
        make = self._one_of(
            [(jute.exists, 8), (jute.get_data, 9), (jute.get_children, 5), (jute.get_children2, 5)]
        )
        return make(self._path(), self.random.random() < 0.5)

    def _about_watches(self):
        path, kind = self._path(), self.random.randint(1, 5)
        mode = self.random.choice([jute.WATCH_PERSISTENT, jute.WATCH_RECURSIVE])
        return self._one_of(
            [
                (lambda: jute.add_watch(path, mode), 6),
                (lambda: jute.check_watches(path, kind), 4),
                (lambda: jute.remove_watches(path, kind), 3),
            ]
        )()

    def _multi_read(self):
        make = lambda: self.random.choice([jute.get_data, jute.get_children])
        count = self._one_of([(0, 1), (1, 3), (2, 5), (6, 2)])
        return jute.multi_read([make()(self._path(), self.random.random() < 0.3) for _ in range(count)])

    def _get_ephemerals(self):
        prefix = self._one_of([(self.folder, 5), ("/", 1), ("", 1), (" / ", 1), (self.folder + "/a", 3)])
        return jute.get_ephemerals(prefix)

    def _get_acl(self):
        return jute.get_acl(self._path())

    def _set_acl(self):
        path = self._path()
        if path in ("/", "/zookeeper"):  # shutting everybody out of these would end all programs that follow
            path = self.folder
        return jute.set_acl(path, self._acl(0.5), self._version())

    def _check(self):
        return jute.check(self._path(), self._version())

    def _multi(self):
        """All kinds of length; a step that surely fails may stand at any position."""
        kinds = [(self._create, 5), (self._delete, 3), (self._set_data, 3), (self._check, 2)]
        ops = [self._one_of(kinds)() for _ in range(self._one_of([(0, 1), (1, 4), (2, 6), (3, 6), (5, 3), (9, 1)]))]
        if ops and self.random.random() < 0.3:
            # Paths of their own make the others succeed, so that the failing one decides alone.
            ops = [jute.create2(f"{self.folder}/m-", b"m", flags=jute.SEQUENTIAL) for _ in ops]
        if ops and self.random.random() < 0.3:
            bad = self.random.choice(
                [
                    jute.check(self.folder, 77),
                    jute.delete(self.folder + "/none"),
                    jute.create(self.folder),
                    jute.set_data(self.folder, b"", 99),
                    jute.create(self.folder + "/x", b"", []),
                    jute.create("no-slash"),
                    jute.set_data("", b""),
                ]
            )
            ops[self.random.randrange(len(ops))] = bad
        if MALFORMED not in self.without and self.random.random() < 0.02:
            ops.append(jute.get_data(self.folder))  # no such thing in a multi
        return jute.multi(ops)

    def _watches_again(self):
        paths = lambda: tuple(self._good_path() for _ in range(self.random.randint(0, 3)))
        has_lasting = LASTING not in self.without and self.random.random() < 0.5
        lists = [paths() for _ in range(5 if has_lasting else 3)]
        return WatchesAgain(self.random.choice(["start", "now", "last connect"]), *lists)

    def _mangled(self):
        """A request whose body is not what its code says."""
        kinds = [(self._create, 3), (self._delete, 1), (self._set_data, 2), (self._read, 3), (self._set_acl, 2)]
        kinds += [(self._multi, 3), (self._multi_read, 2), (self._get_ephemerals, 1)]
        kinds += [] if LASTING in self.without else [(self._about_watches, 2)]
        op = self._one_of(kinds)()
        cut = self.random.randrange(len(op.body) + 1)
        body = self.random.choice(
            [
                lambda: op.body[:cut],
                lambda: op.body + b"\0\0\0\1junk",
                lambda: b"",
                lambda: jute.int32(-1) + op.body[4:],
                lambda: jute.int32(-7) + op.body[4:],
                lambda: jute.int32(1 << 30) + op.body[4:],
            ]
        )()
        return jute.raw(op.code, body, f"mangled {op!r}")

    def _auth(self):
        user = self.random.choice(list(_USERS))
        return self._one_of(
            [
                (jute.auth("digest", _USERS[user]), 10),
                (jute.auth("ip", b""), 1),
                (jute.auth("digest", b"no colon"), 1),
                (jute.auth("nonsense", b"x"), 1),
                (jute.auth("world", b"anyone"), 1),
                (jute.raw(jute.AUTH, b"\0\0\0", "mangled auth"), 0.5),
            ]
        )

    def _good_path(self, for_create=False):
        if self.random.random() < 0.05:
            return self.folder
        depth = self._one_of([(1, 5), (2, 5), (3, 2)])
        parts = [self.random.choice(_NAMES) for _ in range(depth)]
        if self.random.random() < 0.12:
            # what a sequential create makes of a name, or such a name
            parts[-1] += "-" if for_create else f"{self.random.randrange(4):010d}"
        return "/".join([self.folder, *parts])

    def _path(self, for_create=False):
        if self.random.random() > 0.05:
            return self._good_path(for_create)
        good = self._good_path()
        choices = [
            "",
            "/",
            "relative",
            "" if MALFORMED in self.without else None,
            good + "/",
            good + "//x",
            good + "/./x",
            good + "/..",
            good + "/...",
            good + "/.hidden",
            good + "\x00",
            good + "\x01x",
            good + "/\x7f",
            good + "\x85",
            good + "/\ue000",
            good + "\ufff0",
            good + "/caf\u00e9 \u4e2d\U0001f980",
            "/zookeeper",
            "/zookeeper/quota",
            "/zookeeper/none/x",
        ]
        return self.random.choice(choices)

    def _data(self):
        return self._one_of([(b"", 3), (b"x", 4), (b"some data", 4), (b"\0\xff" * 300, 1), (None, 1)])

    def _version(self):
        return self._one_of([(-1, 5), (0, 4), (1, 3), (2, 2), (3, 1), (-2, 0.3), (2**31 - 1, 0.2)])

    def _acl(self, special=0.2):
        if self.random.random() > special:
            return jute.OPEN_ACL
        world_read = Acl(jute.READ, "world", "anyone")
        alice, bob = (Acl(jute.ALL, "digest", DIGESTS[user]) for user in ("alice", "bob"))
        readable = [
            [world_read],
            [alice, world_read],
            [Acl(jute.ALL & ~jute.WRITE, "world", "anyone")],
            [Acl(jute.READ | jute.CREATE_PERM, "world", "anyone"), bob],
            [Acl(jute.READ | jute.ADMIN, "world", "anyone")],
            [Acl(jute.ALL, "auth", ""), world_read],
            [Acl(jute.ALL, "ip", "127.0.0.1")],
            [world_read, world_read, alice],
        ]
        unreadable = [
            [alice],
            [bob],
            [Acl(jute.READ, "digest", DIGESTS["bob"]), alice],
            [Acl(jute.ALL, "auth", "")],
            [Acl(jute.ALL & ~jute.READ, "world", "anyone")],
            [Acl(jute.ADMIN, "world", "anyone")],
            [Acl(jute.ALL, "ip", "10.0.0.0/8")],
            [Acl(0, "world", "anyone")],
        ]
        invalid = [
            [],
            [] if MALFORMED in self.without else None,
            [Acl(jute.ALL, "nonsense", "x")],
            [Acl(jute.ALL, "world", "somebody")],
            [Acl(jute.ALL, "digest", "no colon")],
            [Acl(jute.ALL, "digest", "a:b:c")],
            [Acl(jute.ALL, "ip", "300.1.1.1")],
            [Acl(jute.ALL, "ip", "127.0.0.1/33")],
            [Acl(jute.ALL, "ip", "")],
            [Acl(jute.ALL, "sasl", "someone")],
            [Acl(jute.ALL, None, "x")],
            [world_read, Acl(jute.ALL, "", "")],
            [Acl(jute.ALL, "super", "x")],
        ]
        pools = [(readable, 4), (invalid, 2)] + ([] if UNREADABLE in self.without else [(unreadable, 3)])
        return self.random.choice(self._one_of(pools))
