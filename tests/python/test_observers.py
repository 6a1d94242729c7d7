"""Observers, and quorums by groups and weights: who counts for nothing follows, serves and is not waited for."""

from harness import jute
from harness.ports import free_ports
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


def _ensemble_with_feeds(make_ensemble):
    """Three voters, and two observers that followers feed."""
    options = Options(extra={"observerMasterPort": free_ports(1)[0]})
    ensemble = make_ensemble(5, observers=2, apart=True, options=options)
    if not ensemble.flavour.is_zabra:
        pytest.skip("observers of ZooKeeper say nothing of it in mntr")
    _wait_until_fed(ensemble)
    return ensemble


def _feeds(ensemble):
    """How many observers each follower feeds."""
    voters = [server for server in ensemble.servers if server.alive() and not server.address.observes]
    followers = [server for server in voters if server.mode(1) == "follower"]
    return {server: int(server.mntr()["zk_synced_observers"]) for server in followers}


def _wait_until_fed(ensemble):
    wait_for(lambda: sum(_feeds(ensemble).values()) == 2, 20, lambda: f"feeds:\n{ensemble.log_tails()}")


def test_what_followers_feed_is_as_new_as_what_the_leader_sends(make_ensemble):
    ensemble = _ensemble_with_feeds(make_ensemble)
    observer = ensemble.server(5)
    with _client(observer) as through, _client(ensemble.leader()) as beside:
        through.value(jute.create("/a"))
        for turn in range(50):
            beside.value(jute.set_data("/a", b"%d" % turn))
            through.value(jute.sync())
            assert through.value(jute.get_data("/a"))[0] == b"%d" % turn
        through.value(jute.set_data("/a", b"mine"))
        assert through.value(jute.get_data("/a"))[0] == b"mine"
        for client in (through, beside):
            client.close()
    assert sum(_feeds(ensemble).values()) == 2


def test_clients_of_observers_do_not_notice_that_a_follower_ends(make_ensemble):
    ensemble = _ensemble_with_feeds(make_ensemble)
    clients = [_client(ensemble.server(server_id)) for server_id in (4, 5)]
    for client in clients:
        client.value(jute.create(f"/mine-{client.session.session_id}", flags=jute.EPHEMERAL))
    feeder = max(_feeds(ensemble).items(), key=lambda item: item[1])[0]
    feeder.kill()
    for turn in range(20):
        for client in clients:
            client.value(jute.create(f"/{turn}-{client.session.session_id}"))
    _wait_until_fed(ensemble)
    feeder.start()
    ensemble.wait_all_serving()
    for client in clients:
        client.value(jute.sync())
        names = client.value(jute.get_children("/"))
        assert len([name for name in names if name.startswith("mine-")]) == 2
    for client in clients:
        client.close()


def test_a_follower_that_stands_still_is_left(make_ensemble):
    ensemble = _ensemble_with_feeds(make_ensemble)
    feeder = max(_feeds(ensemble).items(), key=lambda item: item[1])[0]
    client = _client(ensemble.server(4))
    feeder.pause()
    try:
        for turn in range(20):
            client.value(jute.create(f"/{turn}"))
        _wait_until_fed(ensemble)
    finally:
        feeder.resume()
    client.close()


def _sent_per_byte(ensemble):
    """How many bytes the leader sends other servers for each that is written."""
    data, writes = b"x" * 16_384, 100
    leader = ensemble.leader()
    with _client(leader) as client:
        client.value(jute.create("/a"))
        before = int(leader.mntr()["zk_peer_bytes_sent_count"])
        for _ in range(writes):
            client.value(jute.set_data("/a", data))
        for server in ensemble.servers:
            with _client(server) as other:
                other.value(jute.sync())
                other.close()
        after = int(leader.mntr()["zk_peer_bytes_sent_count"])
        client.close()
    return (after - before) / (writes * len(data))


def test_the_leader_sends_observers_that_are_fed_next_to_nothing(make_ensemble):
    fed = _ensemble_with_feeds(make_ensemble)
    assert 2 <= _sent_per_byte(fed) < 2.2
    assert 4 <= _sent_per_byte(make_ensemble(5, observers=2)) < 4.2
