"""The one table of what the differential test does not compare, and why.

What Zabra does otherwise on purpose is also told to users in docs/compatibility.md; `documented` is the phrase that
stands there, and a test holds the two together. The rest are faults and ages of the ZooKeepers compared with.
"""

from dataclasses import dataclass
from typing import Callable

from .randomops import BARE_CHECK, LASTING, MALFORMED, ODD_FLAGS, QUOTAS, UNREADABLE


@dataclass(frozen=True)
class Difference:
    """One thing that is not compared. Exactly one of `rewrite`, `without` and `where` says how it is kept out."""

    name: str
    reason: str
    applies: Callable
    """(left flavour, right flavour, servers on the right) -> whether it has to be kept out."""
    rewrite: Callable | None = None
    """One observation -> what remains of it."""
    without: str | None = None
    """What programs are made without."""
    where: str | None = None
    """The code that takes care of it for all."""
    documented: str | None = None
    """The phrase of docs/compatibility.md that tells the same."""


def _before(*version):
    return lambda left, right, size: min(left.version, right.version) < version


def _zabra(left, right, size):
    return right.is_zabra


def _always(left, right, size):
    return True


def _without_event_zxid(seen):
    slot, what = seen
    return (slot, ("event", *what[1:4])) if what[0] == "event" else seen


def _multi_create2_as_create(seen):
    slot, what = seen
    if what[:2] != ("reply", "multi") or not isinstance(what[3], tuple):
        return seen
    results = tuple(("create", inner[1]) if inner[0] == "create2" else inner for inner in what[3])
    return (slot, (*what[:3], results, *what[4:]))


KNOWN_DIFFERENCES = [
    # On purpose.
    Difference(
        "unknown operation",
        "ZooKeeper ends the connection after UNIMPLEMENTED, Zabra goes on; the header's zxid is -1 or the last one",
        _zabra,
        where="Side._unknown_op, Normalizer._header",
        documented="an unknown operation",
    ),
    Difference(
        "ping",
        "Zabra answers a ping at once, also while requests before it wait for a write",
        _zabra,
        where="Side._until_replied",
        documented="a ping while requests wait",
    ),
    Difference(
        "zxids of malformed writes",
        "ZooKeeper refuses one under a zxid that may be taken, Zabra with the last one applied",
        _zabra,
        where="Normalizer._header",
        documented="a write that cannot be read",
    ),
    Difference(
        "pipelined setACL",
        "ZooKeeper judges what follows by the old list until the new one happens to have been applied",
        _always,
        where="ProgramMaker._ops",
        documented="a new ACL and what is pipelined behind it",
    ),
    Difference(
        "order of authenticated ids",
        "ZooKeeper expands the scheme auth in the order of a hash table",
        _always,
        where="Normalizer._value",
        documented="the order of the entries that `auth` becomes in an ACL",
    ),
    Difference(
        "body of a refused multiRead",
        "ZooKeeper tells what it had read before the operation that is none",
        _zabra,
        where="Reply.value",
        documented="a multiRead with another operation in it",
    ),
    Difference(
        "room left by a quota",
        "ZooKeeper asks what is applied, Zabra counts what is pipelined and the operations of a multi before",
        _always,
        where="ProgramMaker._changes_of_quota, catalogue._quotas",
        documented="what a quota leaves room for",
    ),
    Difference(
        "figures of a quota",
        "in ZooKeeper they may be anything once limits and stats were not made and deleted together",
        _zabra,
        where="catalogue._quotas",
        documented="the figures of a quota",
    ),
    # Without an order that anybody promised.
    Difference("children", "they come in the order of a hash table", _always, where="Normalizer._value"),
    Difference("ephemerals that go together", "their events have no order", _always, where="Side.run"),
    # Faults of the ZooKeepers compared with.
    Difference(
        "sync of a leading ZooKeeper",
        "it does not wait for what the leader itself has not applied yet",
        lambda left, right, size: not right.is_zabra,
        where="Side._catch_up",
    ),
    Difference(
        "a container with the flag of an ephemeral",
        "until it happens to be applied ZooKeeper takes it for an ephemeral, which can have no children",
        _always,
        where="ProgramMaker._create_limited",
    ),
    Difference(
        "malformed writes",
        "one takes an ensemble of ZooKeeper 3.9.5 out of service: its error is proposed under a zxid that is taken",
        lambda left, right, size: size > 1 and not right.is_zabra,
        without=MALFORMED,
    ),
    Difference("malformed requests", "3.8 answers some of them otherwise", _before(3, 9, 2), without=MALFORMED),
    Difference("READ", "before 3.9.2 exists and events pass it", _before(3, 9, 2), without=UNREADABLE),
    Difference("check outside a multi", "before 3.9 it is not refused", _before(3, 9, 2), without=BARE_CHECK),
    Difference("watches that stay", "before 3.9 a connection has one mode on a path", _before(3, 9, 0), without=LASTING),
    Difference("quotas", "before 3.9 they are written and checked otherwise", _before(3, 9, 0), without=QUOTAS),
    Difference("odd flags", "3.8 answers them otherwise in a multi", _before(3, 9, 2), without=ODD_FLAGS),
    Difference("event zxid", "before 3.9 it is -1", _before(3, 9, 0), rewrite=_without_event_zxid),
    Difference(
        "create2 in a multi",
        "before 3.9 it is answered as a create, without a Stat",
        _before(3, 9, 0),
        rewrite=_multi_create2_as_create,
    ),
]


def rewriters(left, right, size):
    """The functions that take the differences between these two out of an observation."""
    return [one.rewrite for one in KNOWN_DIFFERENCES if one.rewrite and one.applies(left, right, size)]


def left_out(left, right, size):
    """What programs for these two are made without."""
    return {one.without for one in KNOWN_DIFFERENCES if one.without and one.applies(left, right, size)}
