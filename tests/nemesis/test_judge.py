"""A judge that finds nothing wrong in what is wrong would prove nothing."""

from dataclasses import replace

import pytest

from harness import jute
from harness.verdict import Node

from nemesis.history import FAILED, OK, UNKNOWN, Op
from nemesis.judge import check, longest_gap

STAT = jute.Stat(1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1)
REGISTER, FOLDER = "/nemesis/r0", "/nemesis/rust0/s-"


class Story:
    """A history made by hand: one request per second, zxids and versions as they come."""

    def __init__(self):
        self.ops = []
        self.zxid = 10
        self.nodes = {REGISTER: Node(b"none", STAT._replace(mzxid=self.zxid))}

    def _op(self, client, op, path, outcome, **told):
        at = float(len(self.ops))
        one = Op(client, "0x1", len(self.ops), op, path, at, at + 0.5, outcome, **told)
        self.ops.append(one)
        return one

    def set(self, value, client="rust0", outcome=OK, happens=True, op="set", **told):
        """Sets the register; a write without an answer may have happened."""
        node = self.nodes[REGISTER]
        if happens:
            self.zxid += 1
            stat = node.stat._replace(version=node.stat.version + 1, mzxid=self.zxid)
            node = self.nodes[REGISTER] = Node(value.encode(), stat)
        if outcome == OK:
            told |= {"version": node.stat.version, "mzxid": node.stat.mzxid, "zxid": self.zxid}
        return self._op(client, op, REGISTER, outcome, value=value, **told)

    def get(self, client="rust0", op="synced_get"):
        """Reads the register."""
        node = self.nodes[REGISTER]
        told = {"value": node.data.decode(), "version": node.stat.version, "mzxid": node.stat.mzxid}
        return self._op(client, op, REGISTER, OK, zxid=self.zxid, **told)

    def append(self, value, client="rust0", outcome=OK, happens=True):
        """Makes a sequential znode."""
        told, name = {}, f"{FOLDER}{len(self.ops)}"
        if happens:
            self.zxid += 1
            self.nodes[name] = Node(value.encode(), STAT._replace(czxid=self.zxid, mzxid=self.zxid))
        if outcome == OK:
            told = {"name": name, "version": 0, "mzxid": self.zxid, "zxid": self.zxid}
        return self._op(client, "append", FOLDER, outcome, value=value, **told)

    def change(self, op, **told):
        """Another answer than was given."""
        self.ops[self.ops.index(op)] = replace(op, **told)

    def wrong(self):
        """The judgement as one text."""
        return "\n".join(check(self.ops, self.nodes))


@pytest.fixture
def story():
    """A history in which all is well, of every kind of request and outcome."""
    story = Story()
    story.set("a1")
    story.get("kazoo0")
    story.set("a2", "kazoo0")
    story.set("a3", "kazoo0", op="cas", expected=2)
    story.set("refused", op="cas", expected=2, outcome=FAILED, happens=False)
    story.set("never", outcome=UNKNOWN, happens=False)
    story.set("unheard", outcome=UNKNOWN)
    story.append("b1")
    story.append("b2", outcome=UNKNOWN)
    story.append("b3", outcome=UNKNOWN, happens=False)
    story.get(op="get")
    story.get("kazoo0")
    assert story.wrong() == ""
    return story


def test_a_lost_write_is_found(story):
    story.set("last")
    story.nodes[REGISTER] = Node(b"unheard", story.nodes[REGISTER].stat._replace(version=4, mzxid=14))
    assert "lost write" in story.wrong()


def test_a_lost_write_that_others_covered_is_found(story):
    """Two writes were told the same version: one of them undid the other."""
    lost = story.set("lost")
    story.set("winner")
    story.change(story.ops[-1], version=lost.version, mzxid=lost.mzxid + 1)
    assert "has two versions" in story.wrong()


def test_a_write_without_an_answer_that_happened_twice_is_found(story):
    node = story.nodes[REGISTER]
    story.zxid += 1
    story.nodes[REGISTER] = Node(node.data, node.stat._replace(version=node.stat.version + 1, mzxid=story.zxid))
    story.get()
    assert "applied twice: 'unheard'" in story.wrong()


def test_a_write_that_happened_twice_unseen_is_found(story):
    node = story.nodes[REGISTER]
    story.zxid += 1
    story.nodes[REGISTER] = Node(node.data, node.stat._replace(version=node.stat.version + 2, mzxid=story.zxid))
    assert "is at version 6 after 3 writes and 2" in story.wrong()


def test_a_refused_write_that_happened_is_found(story):
    story.set("refused", happens=True, outcome=FAILED, op="cas", expected=9)
    story.get()
    assert "'refused', which was never written or was refused" in story.wrong()


def test_a_cas_that_was_refused_without_reason_is_found(story):
    version = story.get().version
    refused = story.set("refused", op="cas", expected=version, outcome=FAILED, happens=False, error="BadVersion")
    assert f"was at version {version} all the time" in story.wrong()
    story.set("meanwhile")
    story.change(story.ops[-1], invoked=refused.invoked)
    story.change(refused, returned=story.ops[-1].returned)
    assert story.wrong() == ""


def test_a_value_that_nobody_wrote_is_found(story):
    story.set("unheard too", outcome=UNKNOWN)
    story.nodes[REGISTER] = Node(b"garbage", story.nodes[REGISTER].stat)
    assert "'garbage', which was never written" in story.wrong()


def test_a_cas_of_another_version_is_found(story):
    story.set("cas", op="cas", expected=17)
    assert "a cas of version 17 made version 5" in story.wrong()


def test_a_stale_read_after_sync_is_found(story):
    old = story.get("kazoo1")
    story.set("new")
    read = story.get("kazoo0")
    story.change(read, value=old.value, version=old.version, mzxid=old.mzxid)
    assert "stale after sync" in story.wrong()


def test_a_stale_read_after_a_fresh_one_of_another_client_is_found(story):
    """Neither wrote; the second one began when the first was over."""
    old = story.get("kazoo1")
    story.set("unheard too", outcome=UNKNOWN)
    story.get("kazoo1")
    read = story.get("kazoo0")
    story.change(read, value=old.value, version=old.version, mzxid=old.mzxid)
    assert "stale after sync" in story.wrong()


def test_a_plain_read_may_be_stale_but_not_go_back(story):
    old = story.get("kazoo1", op="get")
    story.set("new")
    other = story.get("kazoo2", op="get")
    story.change(other, value=old.value, version=old.version, mzxid=old.mzxid)
    assert story.wrong() == ""
    story.get("kazoo1", op="get")
    back = story.get("kazoo1", op="get")
    story.change(back, value=old.value, version=old.version, mzxid=old.mzxid)
    assert "went back in time" in story.wrong()


def test_a_read_of_the_future_is_found(story):
    early = story.get("kazoo0", op="get")
    late = story.set("late")
    story.change(early, value=late.value, version=late.version, mzxid=late.mzxid)
    assert "was read before it was written" in story.wrong()


def test_an_answer_at_a_lower_zxid_is_found(story):
    read = story.get()
    story.change(read, zxid=11)
    assert "an answer at zxid 0xb" in story.wrong()


def test_writes_out_of_a_sessions_order_are_found(story):
    first, second = story.append("c1"), story.append("c2")
    story.change(first, mzxid=second.mzxid, zxid=second.zxid)
    story.change(second, mzxid=first.mzxid, invoked=first.invoked, returned=first.returned)
    assert "out of order" in story.wrong()


def test_writes_out_of_real_time_are_found(story):
    first, second = story.append("c1", "kazoo0"), story.append("c2", "kazoo1")
    story.change(first, mzxid=second.mzxid)
    story.change(second, mzxid=first.mzxid)
    assert "out of real time" in story.wrong()


@pytest.mark.parametrize("value", ["b1", "b2"])
def test_an_append_that_happened_twice_is_found(story, value):
    story.nodes[FOLDER + "99"] = Node(value.encode(), STAT)
    assert f"applied twice: '{value}'" in story.wrong()


def test_a_lost_append_is_found(story):
    (path,) = [path for path, node in story.nodes.items() if node.data == b"b1"]
    del story.nodes[path]
    assert "lost write: rust0 append" in story.wrong()


def test_an_append_that_nobody_sent_is_found(story):
    story.nodes[FOLDER + "99"] = Node(b"stray", STAT)
    assert "'stray', which was never sent" in story.wrong()


def test_a_register_that_is_gone_is_found(story):
    del story.nodes[REGISTER]
    assert f"{REGISTER} is gone" in story.wrong()


def test_the_longest_gap_is_between_neighbours():
    assert longest_gap([5.0, 1.0, 2.5]) == 2.5
    assert longest_gap([]) == 0.0
