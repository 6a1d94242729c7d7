"""Observers, and quorums by groups and weights: who counts for nothing follows, serves and is not waited for."""

from harness import jute
from harness.rawclient import Event, RawClient
from harness.server import Options
from harness.wait import DeadlineExceeded, wait_for

import pytest


def _client(server, **arguments):
    return RawClient(server.address.host, server.address.client_port, **arguments)


def test_an_observer_serves_reads_watches_writes_and_sessions(make_ensemble):
    ensemble = make_ensemble(4, observers=1)
    observer = ensemble.server(4)
    assert observer.mode() == "observer"
    leader = ensemble.leader()
    wait_for(lambda: leader.mntr().get("zk_synced_observers") == "1", 10, "the leader to count its observer")
    assert leader.mntr()["zk_quorum_size"] == "3"
    assert observer.mntr()["zk_peer_state"] == "observing - broadcast"
    with _client(observer) as through, _client(leader) as beside:
        through.value(jute.create("/a", b"1"))
        assert through.value(jute.get_data("/a", watch=True))[0] == b"1"
        beside.value(jute.set_data("/a", b"2"))
        event = through.receive(10)
        assert isinstance(event, Event) and event.path == "/a"
        through.value(jute.sync())
        assert through.value(jute.get_data("/a"))[0] == b"2"
        through.value(jute.create("/mine", flags=jute.EPHEMERAL))
        session = through.session
        through.drop()
        with _client(ensemble.followers()[0], session=session, last_zxid=through.last_zxid) as moved:
            assert not moved.expired
            moved.close()
        beside.close()


def test_an_observer_outlives_leaders_and_restarts(make_ensemble):
    ensemble = make_ensemble(4, observers=1)
    observer = ensemble.server(4)
    client = _client(observer)
    for turn in range(2):
        leader = ensemble.leader()
        leader.kill()
        client.value(jute.create(f"/turn-{turn}"))
        leader.start()
        ensemble.wait_all_serving()
    assert set(client.value(jute.get_children("/"))) >= {"turn-0", "turn-1"}
    client.close()
    observer.kill()
    observer.wipe()
    observer.start()
    ensemble.wait_all_serving()
    with _client(observer) as client:
        assert set(client.value(jute.get_children("/"))) >= {"turn-0", "turn-1"}
        client.close()


def test_observers_are_no_part_of_a_quorum(make_ensemble):
    ensemble = make_ensemble(5, observers=2)
    for server in ensemble.servers[3:]:
        server.kill()
    with _client(ensemble.leader()) as client:
        client.value(jute.create("/without-observers"))
        client.close()
    for server in ensemble.servers[3:]:
        server.start()
    ensemble.wait_all_serving()
    voters = [server for server in ensemble.servers if not server.address.observes]
    for server in voters[1:]:
        server.kill()
    left = [server for server in ensemble.servers if server.alive()]
    wait_for(lambda: all(server.mode(0.5) is None for server in left), 20, "nobody to serve without two voters")
    with pytest.raises(DeadlineExceeded):
        ensemble.leader(2, among=left)


def test_a_server_with_most_of_the_weight_cannot_be_done_without(make_ensemble):
    options = Options(extra={"group.1": "1:2:3", "weight.1": "3"})
    ensemble = make_ensemble(3, options=options)
    if not ensemble.flavour.is_zabra:
        pytest.skip("the rest is as with any ensemble of groups")
    for server in ensemble.servers[1:]:
        server.kill()
    heavy = ensemble.server(1)
    ensemble.leader(20, among=[heavy])
    with _client(heavy) as client:
        client.value(jute.create("/alone"))
        client.close()
    ensemble.servers[1].start()
    ensemble.servers[2].start()
    ensemble.wait_all_serving()
    heavy.kill()
    others = ensemble.servers[1:]
    wait_for(lambda: all(server.mode(0.5) is None for server in others), 20, "nobody to serve")
    heavy.start()
    ensemble.wait_all_serving()
    with _client(others[0]) as client:
        client.value(jute.sync())
        assert "alone" in client.value(jute.get_children("/"))
        client.close()
