"""Faults that need a test of their own beside the cycles of `tests/nemesis`: here it is known what each client does."""

import contextlib

import pytest

from harness import jute, netns
from harness.rawclient import RawClient
from harness.wait import DeadlineExceeded, wait_for


@pytest.fixture
def network():
    """Namespaces for the servers, where they can be had; else None."""
    if netns.unavailable():
        yield None
        return
    with netns.Network() as made:
        yield made


def test_a_leader_cut_off_from_the_others_acknowledges_nothing(make_ensemble, network):
    """The same fault alone, and closer: a client that stays with the leader that lost its quorum."""
    if network is None:
        pytest.skip(netns.unavailable())
    ensemble = make_ensemble(3, network=network)
    leader = ensemble.leader()
    address = leader.address
    inside = RawClient(address.host, address.client_port, timeout_ms=20_000)
    inside.value(jute.create("/before"))
    network.isolate(leader.server_id)
    inside.send(jute.create("/during"))
    others = [server for server in ensemble.servers if server is not leader]
    new = ensemble.leader(60, among=others)
    with RawClient(new.address.host, new.address.client_port) as outside:
        outside.value(jute.create("/after"))
        with contextlib.suppress(Exception):  # it may close the connection or keep silent, not say that it is done
            answer = inside.receive(10)
            assert answer.error != jute.OK, "a leader without a quorum acknowledged a write"
        inside.drop()
        assert network.heal() > 0
        ensemble.wait_all_serving(60)
        outside.close()
    trees = []
    for server in ensemble.servers:
        with RawClient(server.address.host, server.address.client_port) as client:
            client.value(jute.sync())
            trees.append(sorted(client.value(jute.get_children("/"))))
            client.close()
    assert trees[0] == trees[1] == trees[2]
    assert {"before", "after"} <= set(trees[0])


@pytest.mark.parametrize("late_was", ["killed", "stopped"])
def test_a_server_that_lost_its_disk_does_not_vote_until_it_has_a_copy(make_ensemble, late_was):
    """One server misses a write, another loses its disk: these two must not become a quorum that forgot the write."""
    ensemble = make_ensemble(3)
    if not ensemble.flavour.is_zabra:
        pytest.skip("two such servers of ZooKeeper elect a leader, and the write is lost")
    leader = ensemble.leader()
    lost, late = [server for server in ensemble.servers if server is not leader]
    _write(leader, "/before")
    late.kill() if late_was == "killed" else late.pause()
    _write(leader, "/acknowledged")
    leader.kill()
    lost.kill()
    lost.wipe()
    late.start() if late_was == "killed" else late.resume()
    lost.start()
    for server in (late, lost):
        wait_for(lambda one=server: one.takes_votes(), 20, "the server to listen to the others")
    with pytest.raises(DeadlineExceeded):
        ensemble.leader(4, among=[late, lost])
    leader.start()
    ensemble.wait_all_serving()
    # With its copy the server votes again: it and the late one are a quorum now.
    ensemble.leader().kill()
    others = [server for server in ensemble.servers if server.alive()]
    ensemble.leader(30, among=others)
    for server in others:
        with RawClient(server.address.host, server.address.client_port) as client:
            client.value(jute.sync())
            for path in ("/before", "/acknowledged"):
                assert client.call(jute.exists(path)).error == jute.OK, f"{path} is lost on {server.server_id}"
            client.close()


def _write(server, path):
    with RawClient(server.address.host, server.address.client_port) as client:
        client.value(jute.create(path))
        client.close()
