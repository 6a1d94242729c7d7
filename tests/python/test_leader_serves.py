"""`leaderServes=no`: the leader has no clients of its own."""

import os
import signal

import pytest

from harness import jute
from harness.rawclient import ConnectionClosed, RawClient
from harness.server import Options
from harness.wait import wait_for
from harness.writer import Writer, all_write_on, assert_all_there

NO = Options(extra={"leaderServes": "no"})


def serves(server):
    """True if it opens sessions."""
    try:
        with RawClient(server.address.host, server.address.client_port) as client:
            client.close()
        return True
    except ConnectionClosed:
        return False


@pytest.fixture
def make(make_ensemble, flavour):
    if not flavour.is_zabra:
        pytest.skip("the harness asks a leader by its client port who it is, where ZooKeeper's would not answer")
    return make_ensemble


def test_clients_of_a_new_leader_go_elsewhere_with_their_sessions(make):
    ensemble = make(3, options=NO)
    leader = ensemble.leader()
    assert [serves(server) for server in ensemble.servers] == [server is not leader for server in ensemble.servers]
    assert leader.mode() == "leader", "it tells about itself all the same"
    writers = [Writer(ensemble.servers, f"w{index}", index) for index in range(3)]
    client = RawClient(*_other(ensemble, leader), 10_000)
    client.value(jute.create("/mine", flags=jute.EPHEMERAL))
    for _ in range(2):
        all_write_on(writers)
        leader = ensemble.leader()
        os.kill(leader.pid, signal.SIGUSR1)
        wait_for(lambda one=leader: one.mode() == "follower", 10, "the leader to follow another")
        ensemble.wait_all_serving()
        leader = ensemble.leader()
        assert [serves(server) for server in ensemble.servers] == [server is not leader for server in ensemble.servers]
    for writer in writers:
        writer.end()
    client.drop()
    with RawClient(*_other(ensemble, leader), 10_000, client.session, client.last_zxid) as again:
        assert not again.expired
        assert again.call(jute.exists("/mine")).error == jute.OK
        again.close()
    assert_all_there(ensemble.followers(), writers)


def test_a_server_without_others_serves_though_it_leads(make):
    assert serves(make(1, options=NO).servers[0])


def _other(ensemble, leader):
    server = next(server for server in ensemble.servers if server is not leader)
    return server.address.host, server.address.client_port
