"""The tests' own tools: a checker that finds nothing wrong in what is wrong would prove nothing."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import jute, netns, overload
from harness.differences import KNOWN_DIFFERENCES
from harness.differential import Parting, shrink
from harness.document import write_between
from harness.normal import Normalizer
from harness.randomops import BATCH, ProgramMaker, Step
from harness.rawclient import Event, Reply
from harness.target import REPOSITORY
from harness.verdict import Node, check, check_ephemerals, differences
from harness.wait import wait_for
from harness.workload import CAS, COUNTER, DELETE, EPHEMERAL, EPHEMERALS, SEQUENCE, SHARED, UNIQUE
from harness.workload import Sent, SessionLoss, Worker

STAT = jute.Stat(1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1)


class Story:
    """A worker's history and the matching state of the servers, made by hand."""

    def __init__(self):
        self.worker = Worker(0, [("nowhere", 1)], 0)
        self.worker.session.session_id = 7
        self.nodes = {SHARED: Node(b"0", STAT), "/load/c0/counter": Node(b"-1", STAT)}
        self.zxid = 1

    def sent(self, kind, number, path, error=jute.OK, value=None, target=0, connection=1):
        one = Sent(kind, number, path, connection, 7, float(number), error, value, number + 0.5, target)
        self.worker.history.sent.append(one)
        return one

    def node(self, path, data=b"", version=0, owner=0):
        self.zxid += 1
        stat = STAT._replace(czxid=self.zxid, mzxid=self.zxid, version=version, ephemeral_owner=owner)
        self.nodes[path] = Node(data, stat)

    def wrong(self):
        return check([self.worker], self.nodes)


@pytest.fixture
def story():
    """A history in which all is well: two creates, two sequential ones, one set, one CAS, one delete."""
    story = Story()
    for number in (1, 2):
        story.sent(UNIQUE, number, f"/load/c0/u{number}", value=f"/load/c0/u{number}")
        story.node(f"/load/c0/u{number}", b"%d" % number)
    for number in (3, 4):
        story.sent(SEQUENCE, number, "/load/c0/s-", value=f"/load/c0/s-{number}")
        story.node(f"/load/c0/s-{number}", b"%d" % number)
    story.sent(COUNTER, 5, "/load/c0/counter", value=STAT._replace(version=1))
    story.node("/load/c0/counter", b"5", version=1)
    story.sent(CAS, 6, SHARED, value=STAT._replace(version=1), target=1)
    story.node(SHARED, b"1", version=1)
    story.sent(UNIQUE, 7, "/load/c0/u7", value="/load/c0/u7")
    story.sent(DELETE, 8, "/load/c0/u7")
    assert story.wrong() == []
    return story


def test_a_lost_write_is_found(story):
    del story.nodes["/load/c0/u1"]
    assert any("lost write: /load/c0/u1" in text for text in story.wrong())


def test_a_lost_sequential_write_is_found(story):
    del story.nodes["/load/c0/s-4"]
    assert any("lost write: /load/c0/s-4" in text for text in story.wrong())


def test_a_lost_delete_is_found(story):
    story.node("/load/c0/u7", b"7")
    assert any("lost delete" in text for text in story.wrong())


def test_a_write_applied_twice_is_found(story):
    story.node("/load/c0/s-9", b"4")
    assert any("applied twice" in text for text in story.wrong())


def test_a_write_applied_twice_is_found_when_the_first_was_deleted(story):
    story.sent(DELETE, 10, "/load/c0/s-4")
    del story.nodes["/load/c0/s-4"]
    assert story.wrong() == []
    story.node("/load/c0/s-9", b"4")
    assert any("applied twice" in text for text in story.wrong())


def test_a_set_applied_twice_is_found(story):
    story.node("/load/c0/counter", b"5", version=2)
    assert any("counter has version 2" in text for text in story.wrong())


def test_creates_out_of_order_are_found(story):
    story.node("/load/c0/u1", b"1")
    assert any("out of order" in text for text in story.wrong())


def test_an_unanswered_write_may_or_may_not_be_there_but_stays_as_seen(story):
    story.sent(UNIQUE, 11, "/load/c0/u11", error=None)
    assert story.wrong() == []
    story.worker.history.observed["/load/c0/u11"] = True
    assert any("was there and is gone" in text for text in story.wrong())
    story.worker.history.observed["/load/c0/u11"] = False
    assert story.wrong() == []
    story.node("/load/c0/u11", b"11")
    assert any("came later" in text for text in story.wrong())


def test_a_hole_in_the_unanswered_writes_of_a_connection_is_found(story):
    for number in (11, 12):
        story.sent(UNIQUE, number, f"/load/c0/u{number}", error=None)
    story.node("/load/c0/u12", b"12")
    assert any("no prefix" in text for text in story.wrong())


def test_a_compare_and_set_that_two_won_is_found(story):
    story.sent(CAS, 12, SHARED, value=STAT._replace(version=1), target=1)
    assert any("was made 2 times" in text for text in story.wrong())


def test_a_version_that_nobody_made_is_found(story):
    story.node(SHARED, b"2", version=2)
    assert any("nobody made version 2" in text for text in story.wrong())
    story.sent(CAS, 13, SHARED, error=None, target=2)
    assert story.wrong() == []


def test_versions_against_real_time_are_found(story):
    story.sent(CAS, 1, SHARED, value=STAT._replace(version=2), target=2)
    story.node(SHARED, b"2", version=2)
    assert any("after a newer one was acknowledged" in text for text in story.wrong())


def test_a_session_lost_in_spite_of_its_pings_is_found(story):
    story.worker.history.losses.append(SessionLoss(9, silent_s=20.0, timeout_s=15.0))
    assert story.wrong() == []
    story.worker.history.losses.append(SessionLoss(9, silent_s=2.0, timeout_s=15.0))
    assert any("lost its session" in text for text in story.wrong())


def test_ephemerals_must_live_as_long_as_their_sessions(story):
    path = EPHEMERALS + "/c0-7"
    story.sent(EPHEMERAL, 14, path, value=path)
    assert check_ephemerals([story.worker], [], story.nodes) == [f"{path} is gone although its session lives"]
    story.node(path, owner=7)
    assert check_ephemerals([story.worker], [], story.nodes) == []
    assert check_ephemerals([story.worker], [story.worker], story.nodes) == [f"{path} outlived its session"]


def test_servers_that_differ_are_found(story):
    other = dict(story.nodes)
    assert differences({1: story.nodes, 2: other}) == []
    other["/load/c0/u1"] = Node(b"other", STAT)
    assert len(differences({1: story.nodes, 2: other})) == 1


def test_zxids_are_compared_by_pattern_and_by_order():
    def shown(*zxids):
        normal = Normalizer()
        return [normal.stat(STAT._replace(czxid=zxid, mzxid=zxid, pzxid=zxid)) for zxid in zxids], normal.order()

    assert shown(5, 9, 5) == shown(1 << 32, 2 << 32, 1 << 32)
    assert shown(5, 9, 5)[0] != shown(5, 9, 9)[0]
    assert shown(5, 9)[0] == shown(9, 5)[0] and shown(5, 9)[1] != shown(9, 5)[1]


def test_a_header_tells_the_last_change_it_includes():
    normal = Normalizer()
    reply = lambda code, zxid, error=0: Reply(1, zxid, error, b"", code)
    normal.message(reply(jute.DELETE, 10))
    failed = normal.message(reply(jute.DELETE, 11, jute.NO_NODE))
    assert failed[-1] == "z2"
    assert normal.message(reply(jute.EXISTS, 12, jute.NO_NODE))[-1] == ("through", "z2")
    assert normal.message(Event(10, 1, 3, "/x"))[-1] == "z1"


def test_programs_are_the_same_every_time():
    first, second, other = (ProgramMaker(seed, "/p").program(30) for seed in (1, 1, 2))
    assert first == second != other


@pytest.mark.parametrize("difference", KNOWN_DIFFERENCES, ids=lambda one: one.name)
def test_a_difference_is_kept_out_in_one_way_and_documented(difference):
    assert sum(bool(way) for way in (difference.rewrite, difference.without, difference.where)) == 1
    if difference.documented:
        document = REPOSITORY / "docs" / "compatibility.md"
        if not document.exists():
            pytest.skip(f"no {document}")
        assert difference.documented in " ".join(document.read_text().split())


def test_a_table_takes_the_place_of_the_one_before(tmp_path):
    document = tmp_path / "page.md"
    document.write_text("above\n<!-- in -->\nold\n<!-- out -->\nbelow\n")
    for table in (["| a |"], ["| b |", "| c |"]):
        write_between(document, "<!-- in -->", "<!-- out -->", table)
    assert document.read_text() == "above\n<!-- in -->\n\n| b |\n| c |\n\n<!-- out -->\nbelow\n"


def test_a_silent_reference_is_told_from_a_silent_server():
    answered, silent = [(0, ("reply", "sync"))], [(0, ("no answer",))]

    def is_silence_of_the_left(left, right):
        return Parting(0, None, left, right, ("reference", "tested")).is_silence_of_the_left

    assert is_silence_of_the_left(silent, answered)
    assert not is_silence_of_the_left(answered, silent)
    assert not is_silence_of_the_left(silent, silent)
    assert not is_silence_of_the_left(answered, [(0, ("closed",))])


def test_a_failing_program_shrinks_to_what_fails():
    ops = [jute.get_data(f"/{number}") for number in range(20)]
    program = [Step(BATCH, 0, tuple(ops[start : start + 4])) for start in range(0, 20, 4)]

    def parts(candidate):
        for index, step in enumerate(candidate):
            if ops[9] in step.ops:
                return Parting(index, step, [], [], ("a", "b"))
        return None

    shorter, parting = shrink(program, parts)
    assert shorter == [replace(program[2], ops=(ops[9],))] and parting.index == 0


# Makes a network with one namespace, says so, and waits for its end.
OWNER = """
import signal, sys
from harness.netns import Network
from harness.process import tidy_up_at_sigterm
tidy_up_at_sigterm()
with Network() as network:
    network.addresses(1)
    print("made", flush=True)
    signal.pause()
"""


def _names_of(pid):
    return [name for names in netns.names() for name in names if f"{pid:x}n" in name]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_network_outlives_its_process_and_the_next_run(number):
    if why := netns.unavailable():
        pytest.skip(why)
    tests = Path(__file__).resolve().parent
    owner = subprocess.Popen([sys.executable, "-c", OWNER], cwd=tests, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with owner:
        assert owner.stdout.readline() == b"made\n"
        assert len(_names_of(owner.pid)) == 3, "a bridge, a line and a namespace"
        owner.send_signal(number)
    if number == signal.SIGTERM:
        assert not _names_of(owner.pid), "its own end takes them away"
    with netns.Network() as network:
        network.addresses(1)
        assert not _names_of(owner.pid)
        assert len(_names_of(os.getpid())) == 3
    assert not _names_of(os.getpid())


def test_watchers_that_are_cut_off_stop():
    servers, clients = zip(*(socket.socketpair() for _ in range(3)))
    watchers = overload.Watchers([], 0, "/watched")
    watchers.clients = [SimpleNamespace(socket=client, drop=client.close) for client in clients]
    with watchers:
        for server in servers:
            assert server.recv(len(watchers.get), socket.MSG_WAITALL) == watchers.get
        servers[0].close()  # of the one that changes the znode
        wait_for(lambda: watchers.cut_off == 1, 10, "the first to be gone")
        servers[1].sendall(b"...../watched")
        again = servers[1].recv(1 << 16)
        while watchers.get not in again:
            again += servers[1].recv(1 << 16)
        for server in servers[1:]:
            server.close()
        wait_for(lambda: watchers.cut_off == 3, 10, "all to be gone")
        wait_for(watchers.ended, 10, "the load to end by itself")
    watchers.check()
    assert watchers.events == 1
