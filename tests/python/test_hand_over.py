"""A leader that is told to end, or to lead no longer, leaves its place to another: clients of the others notice a pause."""

import itertools
import os
import signal
import threading
import time

import pytest

from harness import jute
from harness.kazoos import Worker
from harness.rawclient import ConnectionClosed, RawClient
from harness.wait import wait_for


class Writer:
    """A client of one server that writes one znode after the other, and goes on elsewhere if it must."""

    def __init__(self, ensemble, name, first):
        self.servers = ensemble.servers
        self.name = name
        self.at = first
        self.done = []
        """The times of all answers."""
        self.moves = 0
        self.unsure = set()
        """What was asked for on a connection that ended before the answer came."""
        self._over = threading.Event()
        self._worker = Worker(self._run)

    def _connect(self, session=None, last_zxid=0):
        while not self._over.is_set():
            server = self.servers[self.at % len(self.servers)]
            try:
                client = RawClient(
                    server.address.host, server.address.client_port, 10_000, session, last_zxid, deadline_s=5
                )
                assert not client.expired, f"the session of {self.name} is lost"
                return client
            except (OSError, ConnectionClosed):
                self.at += 1
                self._over.wait(0.01)
        return None

    def _run(self):
        client = self._connect()
        while not self._over.is_set():
            number = len(self.done)
            try:
                reply = client.call(jute.create(f"/{self.name}-{number:06}"))
            except ConnectionClosed:
                self.moves += 1
                self.unsure.add(number)
                client.drop()
                client = self._connect(client.session, client.last_zxid)
                continue
            assert reply.error == jute.OK or number in self.unsure and reply.error == jute.NODE_EXISTS
            self.done.append(time.monotonic())
        client.close()

    def end(self):
        """Stops writing; the session is closed."""
        self._over.set()
        self._worker.result(30)

    def longest_pause_s(self):
        """Between two answers."""
        return max(later - earlier for earlier, later in itertools.pairwise(self.done))


def _all_there(ensemble, writers):
    """Nothing that was acknowledged is missing on any server."""
    for server in ensemble.servers:
        with RawClient(server.address.host, server.address.client_port) as client:
            client.value(jute.sync())
            names = set(client.value(jute.get_children("/")))
            for writer in writers:
                missing = {f"{writer.name}-{number:06}" for number in range(len(writer.done))} - names
                assert not missing, f"server {server.server_id} lacks {sorted(missing)[:5]}"
            client.close()


@pytest.fixture
def ensemble(make_ensemble):
    """Three servers of this project: the other one's leaders do not hand over."""
    ensemble = make_ensemble(3, start=False)
    if not ensemble.flavour.is_zabra:
        pytest.skip("a leader of ZooKeeper does not hand over")
    return ensemble.start()


def test_a_rolling_restart_under_load_loses_no_write_and_no_session(ensemble):
    writers = [Writer(ensemble, f"w{index}", index) for index in range(3)]
    # The leader last, as an operator would do it: it moves once.
    order = sorted(ensemble.servers, key=lambda server: server is ensemble.leader_now())
    for server in order:
        for writer in writers:
            wait_for(lambda one=writer, done=len(writer.done): len(one.done) > done + 20, 20, "more writes")
        assert server.stop() == 0
        server.start()
        ensemble.wait_all_serving()
    for writer in writers:
        wait_for(lambda one=writer, done=len(writer.done): len(one.done) > done + 20, 20, "more writes")
        writer.end()
    _all_there(ensemble, writers)


def test_clients_of_the_others_stay_connected_when_the_leader_is_told_to_end(ensemble):
    leader = ensemble.leader()
    others = [server for server in ensemble.servers if server is not leader]
    writers = [Writer(ensemble, f"w{server.server_id}", ensemble.servers.index(server)) for server in others]
    wait_for(lambda: all(len(writer.done) > 20 for writer in writers), 20, "writes")
    assert leader.stop() == 0
    done = [len(writer.done) for writer in writers]
    wait_for(lambda: all(len(one.done) > before + 20 for one, before in zip(writers, done)), 20, "more writes")
    for writer in writers:
        writer.end()
    assert [writer.moves for writer in writers] == [0, 0]
    # An election after a missed leader takes `peerTimeoutMs`, 500 ms; this one is much shorter also on a busy machine.
    assert max(writer.longest_pause_s() for writer in writers) < 0.4
    assert "is left to server" in leader.log_tail()
    leader.start()
    ensemble.wait_all_serving()
    _all_there(ensemble, writers)


def test_a_leader_that_is_asked_to_hand_over_follows_the_next_one(ensemble):
    leader = ensemble.leader()
    writer = Writer(ensemble, "w", ensemble.servers.index(leader))
    wait_for(lambda: len(writer.done) > 20, 20, "writes")
    os.kill(leader.pid, signal.SIGUSR1)
    wait_for(lambda: leader.mode() == "follower", 10, "the leader to follow another")
    done = len(writer.done)
    wait_for(lambda: len(writer.done) > done + 20, 20, "more writes")
    writer.end()
    assert writer.moves == 0, "its own clients stay, too"
    ensemble.wait_all_serving()
    _all_there(ensemble, [writer])


def test_a_leader_that_nobody_follows_ends_at_once(ensemble):
    leader = ensemble.leader()
    for server in ensemble.servers:
        if server is not leader:
            server.kill()
    began = time.monotonic()
    assert leader.stop() == 0
    assert time.monotonic() - began < 5
